#!/usr/bin/env bash
# fasteners 0.20 and oslo.concurrency 7.6.1 on Linux: a lock on a file ends without a word when the same process reads that file.
# Seen: a process holds InterProcessLock("secrets.json"), opens the file, reads it and closes it, here or in some library; from then on a second
# process gets the lock, while `acquired` of the first is still True. With filelock 4.3.1 and portalocker 4.4.2 the second process waits
# in the same case. Nor do the two kinds see each other: where filelock, portalocker or flock(1) holds the lock of a path, fasteners gets it
# at once, and the other way round, since fasteners asks for a lock of fcntl and the others for one of flock. So two programs that
# change one file of secrets can both believe that they are alone. For such files: lock a file of its own beside it, which nothing
# reads, and use one library in all programs. Guess: a lock lasts until it is released. Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check fasteners==0.20 oslo.concurrency==7.6.1 filelock==4.3.1 portalocker==4.4.2
cat >locks.py <<'END'
import subprocess
import sys
from pathlib import Path

import fasteners
import filelock
import portalocker
from oslo_concurrency import lockutils

NAMES = ("fasteners", "oslo", "filelock", "portalocker")


def acquire(name):
    """A held lock of the file, or None."""
    lock = {
        "fasteners": lambda: fasteners.InterProcessLock("secrets.json"),
        "oslo": lambda: lockutils.external_lock("secrets.json", lock_path="."),
        "filelock": lambda: filelock.FileLock("secrets.json", timeout=0),
        "portalocker": lambda: portalocker.Lock("secrets.json", "a", timeout=0, fail_when_locked=True),
    }[name]()
    try:
        return lock if lock.acquire(**({"blocking": False} if name in NAMES[:2] else {})) else None
    except (filelock.Timeout, portalocker.LockException):
        return None


def in_another_process(name):
    return subprocess.run([sys.executable, "locks.py", name], timeout=60).returncode == 0


def see(name):
    """Which libraries get the lock in another process while this one holds it, and whether this one does after a read."""
    Path("secrets.json").write_text("{}")
    lock = acquire(name)
    others = [other for other in NAMES if in_another_process(other)]
    flock = subprocess.run(["flock", "--nonblock", "secrets.json", "true"]).returncode == 0
    assert lock is not None
    assert in_another_process(name) is False
    assert Path("secrets.json").read_text() == "{}"
    after = in_another_process(name)
    still = getattr(lock, "acquired", getattr(lock, "is_locked", None))
    print(f"{name} holds: given to {others}, to flock(1): {flock}; a second one after a read: {after}, and the first says {still}")
    lock.release()
    return others, flock, after


if sys.argv[1:]:
    sys.exit(0 if acquire(sys.argv[1]) else 1)
of_flock, of_fcntl = ["filelock", "portalocker"], ["fasteners", "oslo"]
assert see("fasteners") == (of_flock, True, True)
assert see("oslo") == (of_flock, True, True)
assert see("filelock") == (of_fcntl, False, False)
assert see("portalocker") == (of_fcntl, False, False)
END
venv/bin/python locks.py
