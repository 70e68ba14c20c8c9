"""What providers over plain files share: one writer at a time, whole writes, and versions of a file."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from strongroom.deadlines import Deadline, DeadlineExceededError, DeadlineExecutor
from strongroom.errors import (
    BackendUnavailableError,
    ConfigurationError,
    PermissionDeniedError,
    ReadOnlyError,
    StrongroomError,
    show_key,
)
from strongroom.paths import sync_folder
from strongroom.paths.atomic_write import owned_like
from strongroom.paths.new_file import NewFile
from strongroom.runtime import digests

if TYPE_CHECKING:
    from datetime import datetime

__all__ = [
    "file_error",
    "file_version",
    "folder_locked",
    "replace_file",
    "status_of",
    "sync_folder",
    "version_of",
    "written_at",
]

_PREFIX: Final = ".strongroom-"
_NO_FOLDER_LOCKS: Final = frozenset({errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.EOPNOTSUPP, errno.EISDIR})
_OTHER_KIND: Final = frozenset({errno.EISDIR, errno.ENOTDIR, errno.ELOOP})
"""A folder where a file should be, or the reverse; links in a circle: waiting does not help."""
_DENIED: Final = frozenset({errno.EACCES, errno.EPERM})
_waiting: Final = DeadlineExecutor()


@contextmanager
def folder_locked(folder: str | os.PathLike[str], *, seconds: float, provider: str) -> Iterator[None]:
    """Hold the writers' lock of `folder` during the block: among threads, and processes of this machine.

    The folder itself is locked, so that no file is left in it; if a file system can lock only files (NFS), a
    file in it is locked. Other programs, which do not ask for the lock, are not held up.

    Args:
        folder: An existing folder.
        seconds: How long to wait for it.
        provider: The type name, for the error.

    Raises:
        BackendUnavailableError: Another writer held it all the time.
    """
    descriptor = _lock(Path(folder), Deadline(seconds))
    if descriptor is None:
        raise BackendUnavailableError(
            f"{provider}: another process was writing to {show_key(str(folder))} for {seconds:g} s",
            provider=provider,
            hint="call again; look for a process that hangs",
        )
    try:
        yield
    finally:
        # A child that was forked meanwhile has a copy of the descriptor, which would hold the lock for ever.
        _give_back(descriptor)
        os.sched_yield()  # else a thread that writes in a loop would always be first again


def _give_back(descriptor: int) -> None:
    with contextlib.suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)


def _lock(folder: Path, deadline: Deadline) -> int | None:
    try:
        return _locked(folder, fcntl.LOCK_NB)
    except BlockingIOError:
        pass
    # On another thread, since the call that sleeps in the kernel's queue has no timeout.
    try:
        return _waiting.run(lambda: _locked(folder, 0), deadline, _give_back)
    except DeadlineExceededError:
        return None


def _locked(folder: Path, flags: int) -> int:
    """Return the descriptor of the folder, or of the file in it, that holds the lock."""
    try:
        return _opened_and_locked(folder, os.O_RDONLY | os.O_DIRECTORY, flags)
    except OSError as error:
        if error.errno not in _NO_FOLDER_LOCKS:
            raise
    return _opened_and_locked(folder / f"{_PREFIX}lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, flags)


def _opened_and_locked(path: Path, mode: int, flags: int) -> int:
    descriptor = os.open(path, mode | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | flags)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def replace_file(
    path: str | os.PathLike[str],
    data: bytes,
    *,
    mode: int = 0o600,
    check: Callable[[os.stat_result | None], object] | None = None,
) -> os.stat_result:
    """Replace the file at `path` by `data` in one step, and return the new file's status.

    The new file is on the disk when this returns. Its time is later than the old file's, by a nanosecond at
    least, so that no two versions have the same. Owner, group and permissions of the old file are kept if
    possible; where its group is not, the new file's group may do what all others may.

    Args:
        path: A symbolic link is replaced, not followed.
        data: The new content.
        mode: The permissions of a new file.
        check: Called right before the step, with the status of the existing file or None. If it raises,
            nothing is changed.
    """
    target = Path(path)
    folder = target.absolute().parent
    with NewFile(folder) as new:
        new.write(data)
        before = status_of(target)
        if before is not None and stat.S_ISREG(before.st_mode):
            mode = owned_like(new.descriptor, before)
        os.fchmod(new.descriptor, mode)
        now = time.time_ns()
        if before is not None:
            now = max(now, before.st_mtime_ns + 1)
        os.utime(new.descriptor, ns=(now, now))
        new.sync()
        if check is not None:
            check(status_of(target))
        new.replace(target)
    sync_folder(folder)
    return target.lstat()


def status_of(path: Path) -> os.stat_result | None:
    """Return the status of what is at `path`, without following a link; None if nothing is there."""
    try:
        return path.lstat()
    except FileNotFoundError:
        return None


def file_version(status: os.stat_result) -> str:
    """Return a text that differs for each state of a file; it contains nothing of the content."""
    identity = f"{status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino} {status.st_size}"
    return digests.sha256(identity.encode()).hexdigest()[:20]


def written_at(status: os.stat_result) -> datetime | None:
    """Return the time of a file's last write, in UTC; None if no calendar has it."""
    from datetime import UTC, datetime

    try:
        return datetime.fromtimestamp(status.st_mtime_ns / 1e9, UTC)
    except (ValueError, OverflowError, OSError):  # as of milliseconds that were given for seconds
        return None


def version_of(path: Path, *, provider: str) -> str | None:
    """Return the version of the file that is at `path` now; None if there is none.

    Raises:
        StrongroomError: The system does not allow access to it; see `file_error`.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        failed = file_error(error, f"read {path}", provider=provider)
    else:
        return file_version(status)
    raise failed


def file_error(error: OSError, doing: str, *, provider: str, key: str | None = None) -> StrongroomError:
    """Return strongroom's error for an operating system's error about a file; its path is not a secret.

    Args:
        error: The error.
        doing: What was done, for the message, such as "read /run/secrets/a".
        provider: The type name.
        key: The key that it was about.
    """
    message = f"{provider}: {doing}: {error.strerror or type(error).__name__}"
    if error.errno in _DENIED:
        hint = "let this user have the right, or run as one who has it"
        return PermissionDeniedError(message, key=key, provider=provider, hint=hint)
    if error.errno in _OTHER_KIND:
        return ConfigurationError(message, key=key, provider=provider, hint="correct the path")
    if error.errno == errno.EROFS:
        return ReadOnlyError(message, key=key, provider=provider, hint="the file system is mounted read-only")
    hint = (
        "free space on the disk; what was stored before is still there"
        if error.errno in {errno.ENOSPC, errno.EDQUOT}
        else "look at the disk or mount; what was stored before is still there"
    )
    return BackendUnavailableError(message, key=key, provider=provider, hint=hint)
