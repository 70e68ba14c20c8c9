"""Rotation in the store: processes that die at every step of it, eight that begin at once, and losses of power."""

from __future__ import annotations

import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from strongroom import SecretRotation
from strongroom.encryption.keys import generate_key
from strongroom_file import FileSecretProvider
from strongroom_file.store.session import Session

WORKER = Path(__file__).parent / "_rotator.py"


def rotate(work, folder, times):
    done = subprocess.run(
        [sys.executable, WORKER, work, folder, str(times)],
        check=False,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize("times", [1, pytest.param(25, marks=pytest.mark.torture)])
def test_a_process_that_is_killed_at_any_step_leaves_nothing_behind(tmp_path, times):
    (killed,) = rotate("die", tmp_path, times)
    assert int(killed) >= 20 * times


@pytest.mark.parametrize("rounds", [1, pytest.param(25, marks=pytest.mark.torture)])
def test_eight_processes_make_one_rotation(tmp_path, rounds):
    for number in range(rounds):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert rotate("meet", folder, 8) == ["ConflictError"] * 7 + ["current"]


class Disk:
    """Keeps the store as it is after each commit, and whether that one waited for the disk."""

    def __init__(self, folder, monkeypatch):
        self.store = folder / "secrets.enc"
        self.key = generate_key()
        self.commits = []
        self.watching = False
        self.taken = "old"  # by the target system
        self._folder = folder
        transaction = Session.transaction

        def watched(session, work):
            done = transaction(session, work)
            if self.watching:
                self._keep(session._writing_cursor.execute("PRAGMA synchronous").fetchone() == (2,))
            return done

        monkeypatch.setattr(Session, "transaction", watched)

    def _keep(self, synced):
        copy = self._folder / f"after-{len(self.commits)}"
        copy.mkdir()
        for name in ("secrets.enc", "secrets.enc-wal"):
            shutil.copy(self.store.with_name(name), copy / name)
        self.commits.append((synced, copy / "secrets.enc", self.taken))

    def open(self, path=None):
        return FileSecretProvider(path or self.store, self.key)

    def rotation(self, provider, grace=0, *, later=timedelta(0)):
        def apply(key, old, new):
            self.taken = new

        return SecretRotation(
            provider,
            apply=apply,
            verify=lambda key, new: new == self.taken,
            grace_seconds=grace,
            clock=lambda: datetime.now(UTC) + later,
        )


@pytest.fixture
def disk(tmp_path, monkeypatch):
    return Disk(tmp_path, monkeypatch)


def test_a_rotation_waits_for_the_disk_twice(disk):
    """The new value, before the target system gets it; and that readers get it. Other writes wait as ever."""
    with disk.open() as provider:
        provider.set_secret("key", "old")
        disk.watching = True
        disk.rotation(provider).rotate("key")
        synced = [synced for synced, *_ in disk.commits]
        assert (synced.count(True), len(synced)) == (2, 7)
        provider.set_secret("other", "value")
        assert disk.commits[-1][0]


@pytest.mark.parametrize("grace", [0, 3600])
def test_what_a_loss_of_power_leaves_of_a_rotation_can_be_gone_on_with(disk, grace):
    """Whatever the disk has of it: commits that did not wait may be lost, from the last one that did on."""
    with disk.open() as provider:
        disk.watching = True
        provider.set_secret("key", "old")
        disk.rotation(provider, grace).rotate("key")
        disk.watching = False
    commits, losses = disk.commits, 0
    for at, (_, _, taken) in enumerate(commits):
        later = commits[at + 1][2] if at + 1 < len(commits) else taken
        oldest = max(number for number, (synced, *_) in enumerate(commits[: at + 1]) if synced)
        for left in range(oldest, at + 1):
            for disk.taken in dict.fromkeys([taken, later]):
                losses += 1
                copy = disk.store.with_name(f"loss-{losses}")
                shutil.copytree(commits[left][1].parent, copy)
                with disk.open(copy / "secrets.enc") as provider:
                    rotation = disk.rotation(provider, grace, later=timedelta(minutes=20))
                    in_flight = rotation.status_of("key").state != "current"
                    assert in_flight or provider.get_secret("key") == disk.taken, (at, left)
                    if in_flight:
                        rotation.resume("key")
                    assert provider.get_secret("key") == disk.taken, (at, left)
                    assert rotation.status_of("key").state == "current"
                    assert provider.verify() == []
    assert losses > len(commits)
