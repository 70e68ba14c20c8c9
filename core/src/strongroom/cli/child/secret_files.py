"""Secrets as files for a child: private, in memory if possible, removed at the end."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Self

from strongroom.paths.ownership import others_may_write

__all__ = ["SecretFiles"]

_PREFIX = "strongroom-files-"
_LOCK = ".lock"
_LINK = ".current"
_CURRENT = "current"


class SecretFiles:
    """A folder that exists while the context is entered and is made with the first files.

    Its owner holds a lock in it, so that a later call recognises what a killed one has left behind.
    """

    def __init__(self, base: Path | None = None) -> None:
        self._base = base if base is not None else _memory_folder()
        self._folder: Path | None = None
        self._lock = -1
        self._count = 0
        self._using = threading.Lock()
        self._ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._using:
            self._ended = True
            if self._folder is not None:
                shutil.rmtree(self._folder, ignore_errors=True)
                os.close(self._lock)
                self._folder = None

    def put(self, texts: Mapping[str, str]) -> dict[str, str]:
        """Replace the content of all files by `texts`, in one step, and return their paths by name.

        Only the user may read them. Paths do not change: `current` in them leads to the newest folder, so
        that a key is never beside the certificate of another one. The previous folder stays until the next
        call, for programs that are reading.

        Raises:
            OSError: They cannot be written, or the context was left: nobody would remove them.
        """
        with self._using:
            if self._ended:
                raise FileNotFoundError(errno.ENOENT, "the program has ended")
            try:
                return self._put(texts)
            except OSError as error:
                if error.filename is None:  # that of a write or a lock has none
                    error.filename = str(self._folder or self._base)
                raise

    def _put(self, texts: Mapping[str, str]) -> dict[str, str]:
        if self._folder is None:
            sweep(self._base)
            self._folder, self._lock = _locked_folder(self._base)
        folder, link = self._folder / str(self._count + 1), self._folder / _LINK
        try:
            folder.mkdir(0o700)
            for name, text in texts.items():
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
                with os.fdopen(os.open(folder / name, flags, 0o600), "wb") as file:
                    file.write(text.encode())
            link.symlink_to(folder.name)
            link.replace(self._folder / _CURRENT)
        except BaseException:  # as on a full disk: what was there stays, and the next call is as this one
            link.unlink(missing_ok=True)
            shutil.rmtree(folder, ignore_errors=True)
            raise
        self._count += 1
        shutil.rmtree(self._folder / str(self._count - 2), ignore_errors=True)
        return {name: str(self._folder / _CURRENT / name) for name in texts}


def _locked_folder(base: Path) -> tuple[Path, int]:
    """Make a folder with a lock that is held, and return both."""
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))
    lock = -1
    try:
        # It gets its name once it is locked: a lock that nobody holds means that its owner is dead.
        begun = folder / f"{_LOCK}.new"
        lock = os.open(begun, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        begun.replace(folder / _LOCK)
    except BaseException:
        if lock >= 0:
            os.close(lock)
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return folder, lock


def sweep(base: Path | None = None) -> None:
    """Remove folders whose owner has died, under `base` or where they are made by default."""
    for folder in (base if base is not None else _memory_folder()).glob(f"{_PREFIX}*"):
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
    own = os.environ.get("XDG_RUNTIME_DIR")
    for place in (own if own is not None and _is_own(own) else None, "/dev/shm"):  # noqa: S108  # memory; the folder made in it is private
        if place and os.access(place, os.W_OK | os.X_OK):
            return Path(place)
    return Path(tempfile.gettempdir())


def _is_own(place: str) -> bool:
    """Return whether only this user and root may write a folder: others could exchange what is made in it.

    With `su` and `sudo -E`, the variable may name the folder of the user from before.
    """
    try:
        return os.path.isabs(place) and not others_may_write(os.stat(place))  # noqa: PTH116, PTH117  # stays text
    except OSError:
        return False
