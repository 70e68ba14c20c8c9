"""Secrets as files for a child: private, in memory where the system has such a place, gone at the end."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Self

__all__ = ["SecretFiles"]

_PREFIX = "strongroom-files-"
_LOCK = ".lock"


class SecretFiles:
    """A folder that exists while the context is entered and is made with the first file.

    Its owner holds a lock in it, so that a later call can tell what a killed one has left behind.
    """

    def __init__(self, base: Path | None = None) -> None:
        self._base = base if base is not None else _memory_folder()
        self._folder: Path | None = None
        self._lock = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            os.close(self._lock)
            self._folder = None

    def add(self, name: str, text: str) -> str:
        """Write `text` to a file that only the user may read, and return its path."""
        if self._folder is None:
            sweep(self._base)
            self._folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=self._base))
            self._lock = os.open(self._folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        path = self._folder / name
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(text.encode())
        return str(path)

    def renew(self, name: str, text: str) -> None:
        """Let `text` take the place of what a file holds, in one step."""
        assert self._folder is not None  # noqa: S101  # the file is in it
        descriptor, temporary = tempfile.mkstemp(prefix=".new-", dir=self._folder)
        with os.fdopen(descriptor, "wb") as file:
            file.write(text.encode())
        Path(temporary).replace(self._folder / name)


def sweep(base: Path) -> None:
    """Remove folders under `base` whose owner has died."""
    for folder in base.glob(f"{_PREFIX}*"):
        with _abandoned(folder) as dead:
            if dead:
                shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _abandoned(folder: Path) -> Iterator[bool]:
    try:
        descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:  # another user's, or just being made
        yield False
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        yield False
    else:
        yield True
    finally:
        os.close(descriptor)


def _memory_folder() -> Path:
    for place in (os.environ.get("XDG_RUNTIME_DIR"), "/dev/shm"):  # noqa: S108  # memory; the folder made in it is private
        if place and Path(place).is_absolute() and os.access(place, os.W_OK | os.X_OK):
            return Path(place)
    return Path(tempfile.gettempdir())
