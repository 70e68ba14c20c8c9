"""A key of GnuPG for tests."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

__all__ = ["gpg_key"]


@contextlib.contextmanager
def gpg_key():
    """Make a key without a passphrase; return its folder, for `GNUPGHOME`, and its fingerprint."""
    if not (shutil.which("pass") and shutil.which("gpg")):
        pytest.skip("there is no pass, or no gpg")
    home = tempfile.mkdtemp(prefix="sr", dir="/tmp")  # the agent's socket needs a short path
    Path(home, "gpg.conf").write_text("no-auto-key-locate\n")  # no test asks a server for a key
    environment = {**os.environ, "GNUPGHOME": home}

    def gpg(*words):
        command = ["gpg", "--batch", "--passphrase", "", *words]
        return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout

    try:
        gpg("--quick-generate-key", "T <t@example.com>", "ed25519", "sign", "0")
        listed = gpg("--list-keys", "--with-colons").splitlines()
        fingerprint = next(line.split(":")[9] for line in listed if line.startswith("fpr"))
        gpg("--quick-add-key", fingerprint, "cv25519", "encrypt", "0")
        yield home, fingerprint
    finally:
        subprocess.run(["gpgconf", "--kill", "gpg-agent"], env=environment, check=False)
        shutil.rmtree(home, ignore_errors=True)
