"""What several tests of the store need."""

from __future__ import annotations

import os
import subprocess

import pytest


@pytest.fixture
def make_read_only():
    """Let a folder be read-only; root may write despite permissions, so it takes a mount of its own."""
    made = []

    def make(folder):
        if os.geteuid() != 0:
            folder.chmod(0o555)
        else:
            _mount_read_only(folder)
        made.append(folder)

    yield make
    for folder in made:
        if os.geteuid() == 0:
            subprocess.run(["umount", str(folder)], check=True)
        else:
            folder.chmod(0o755)


def _mount_read_only(folder):
    done = subprocess.run(["mount", "--bind", str(folder), str(folder)], capture_output=True, check=False)
    if done.returncode == 0:
        done = subprocess.run(
            ["mount", "-o", "remount,ro,bind", str(folder)], capture_output=True, check=False
        )
        if done.returncode != 0:
            subprocess.run(["umount", str(folder)], check=False)
    if done.returncode != 0:
        pytest.skip(f"root cannot be kept from writing here: no bind mounts ({done.stderr.decode().strip()})")
