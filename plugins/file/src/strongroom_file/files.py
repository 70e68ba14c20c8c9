"""Writes files for their owner only, in one step; refuses files that cannot be trusted."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from strongroom.errors import (
    BackendUnavailableError,
    ConfigurationError,
    PermissionDeniedError,
    ReadOnlyError,
    StrongroomError,
)

from strongroom_file.integrity import TYPE_NAME

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "MODE",
    "SIDE_FILES",
    "check_local",
    "check_store",
    "denied",
    "is_readable",
    "is_writable",
    "move_aside",
    "place_new",
    "replace",
    "temporary_beside",
    "translated_os",
]

MODE = 0o600
SIDE_FILES = ("-wal", "-shm")
"""The suffixes of SQLite's own files beside an open store."""

_NETWORK = frozenset(
    [
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "fuse.ceph",
        "fuse.glusterfs",
        "fuse.rclone",
        "fuse.s3fs",
        "fuse.sshfs",
        "glusterfs",
        "gpfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "smb3",
        "smbfs",
    ]
)
_MOUNTS = "/proc/self/mountinfo"
_PATIENCE_SECONDS = 5.0


@contextmanager
def translated_os(path: str | os.PathLike[str], doing: str) -> Iterator[None]:
    """Raise strongroom's errors for the operating system's."""
    try:
        yield
    except StrongroomError:  # some of ours are the system's, too, and say already what happened
        raise
    except PermissionError as error:
        raise denied(path, doing) from error
    except OSError as error:
        raise _os_error(error, path, doing) from error


def denied(path: str | os.PathLike[str], doing: str) -> PermissionDeniedError:
    """Return the error for a file that this user may not use so."""
    return PermissionDeniedError(
        f"may not {doing} {path}",
        provider=TYPE_NAME,
        hint="let this user have the right, or run as one who has it",
    )


def _os_error(error: OSError, path: str | os.PathLike[str], doing: str) -> StrongroomError:
    import errno

    if error.errno == errno.EROFS:
        return ReadOnlyError(
            f"cannot {doing} {path}: the file system is read-only",
            provider=TYPE_NAME,
            hint="name a path on another one, or mount it writable",
        )
    wrong = {errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG}
    if error.errno in wrong or (
        doing == "make" and error.errno == errno.EEXIST
    ):  # a file where a folder should be
        return ConfigurationError(
            f"cannot {doing} {path}: {error.strerror}", provider=TYPE_NAME, hint="correct the path"
        )
    return BackendUnavailableError(f"cannot {doing} {path}: {error.strerror}", provider=TYPE_NAME)


def check_store(path: str | os.PathLike[str]) -> os.stat_result | None:
    """Return the status of a store that may be opened; None if there is no file.

    Raises:
        ConfigurationError: It, or one of SQLite's files beside it, is not a plain file or somebody else's.
    """
    status = check_file(path)
    if status is not None:
        for side in SIDE_FILES:
            check_file(f"{os.fspath(path)}{side}")
    return status


def check_file(path: str | os.PathLike[str]) -> os.stat_result | None:
    """Return the status of a plain file of this user or root; None if there is nothing.

    Raises:
        ConfigurationError: It is a link, a folder, a pipe or a device, or belongs to another user.
    """
    try:
        status = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError as error:
        raise denied(path, "look at") from error
    except OSError as error:
        raise _os_error(error, path, "look at") from error
    if stat.S_ISLNK(status.st_mode):
        raise _refused(path, "is a symbolic link", "name the file that it points to")
    if not stat.S_ISREG(status.st_mode):
        raise _refused(path, "is not a plain file", "name a file")
    if status.st_uid not in {os.geteuid(), 0}:
        raise _refused(path, "belongs to another user", "copy it, or let its owner read it")
    return status


def _refused(path: str | os.PathLike[str], why: str, hint: str) -> ConfigurationError:
    return ConfigurationError(f"{path} {why}", provider=TYPE_NAME, hint=hint)


def check_local(path: str | os.PathLike[str], device: int) -> None:
    """Refuse a store on a network file system, as far as Linux tells.

    Raises:
        ConfigurationError: The locks and the shared memory that SQLite needs do not hold there.
    """
    kind = _file_system(device)
    if kind in _NETWORK:
        raise _refused(
            path,
            f"is on a network file system ({kind}), which is not supported",
            "keep the store on a local disk, or use a backend with a server",
        )


def _file_system(device: int) -> str | None:
    wanted = f"{os.major(device)}:{os.minor(device)}"
    with suppress(OSError):
        with open(_MOUNTS, encoding="utf-8", errors="surrogateescape") as file:  # noqa: PTH123  # stays text
            lines = file.read().splitlines()
        for line in lines:
            fields = line.split(" ")
            if len(fields) > 2 and fields[2] == wanted and "-" in fields:  # noqa: PLR2004  # proc(5): major:minor
                return fields[fields.index("-") + 1]
    return None


def is_readable(path: str | os.PathLike[str]) -> bool:
    """Return whether the file, which is there, may be read."""
    return os.access(path, os.R_OK)


def is_writable(path: str | os.PathLike[str]) -> bool:
    """Return whether the file and its folder, which takes SQLite's other files, may be written."""
    folder = os.path.dirname(path) or "."  # noqa: PTH120  # stays text
    return os.access(path, os.W_OK) and os.access(folder, os.W_OK | os.X_OK)


def temporary_beside(path: Path) -> Path:
    """Make an empty file, 0600 whatever the umask, in the folder of `path`; it can take its place at once."""
    temporary = path.with_name(f".{path.name}.{os.urandom(8).hex()}.tmp")
    descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, MODE)
    try:
        os.fchmod(descriptor, MODE)
    finally:
        os.close(descriptor)
    return temporary


def move_aside(path: Path, aside: Path) -> None:
    """Rename a database, and before it SQLite's own files beside it."""
    for side in SIDE_FILES:
        with suppress(FileNotFoundError):
            path.with_name(f"{path.name}{side}").rename(f"{aside}{side}")
    path.rename(aside)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_names(path: Path) -> None:
    """Make changes of names in the folder of `path` survive a loss of power."""
    from strongroom.providers.files import sync_folder  # a plain read or write makes no file

    sync_folder(path.parent)


def place_new(temporary: Path, path: Path) -> bool:
    """Give a finished database its name, unless that is taken; return whether it was free.

    SQLite would take the log of a database that was removed for this one's, and bring it in: it is renamed.

    Raises:
        BackendUnavailableError: Another process keeps the folder locked.
    """
    _sync(temporary)
    try:
        if _logs_beside(path) and not os.path.lexists(path):
            from strongroom.providers.files import folder_locked  # hardly ever is a log left

            with folder_locked(path.parent, seconds=_PATIENCE_SECONDS, provider=TYPE_NAME):
                # Under the lock, lest a database that another process has just made here loses its own log.
                if not os.path.lexists(path):
                    _set_logs_aside(path)
                os.link(temporary, path, follow_symlinks=False)
        else:
            os.link(temporary, path, follow_symlinks=False)
    except FileExistsError:
        return False
    finally:
        temporary.unlink()
    _sync_names(path)
    return True


def replace(temporary: Path, path: Path) -> None:
    """Replace a database by a finished one, in one step.

    The log that a killed process left goes first: SQLite would bring it into the new one.
    """
    _sync(temporary)
    for log in _logs_beside(path):
        log.unlink(missing_ok=True)
    temporary.replace(path)
    _sync_names(path)


def _logs_beside(path: Path) -> list[Path]:
    """Return the files of SQLite that belong to what is, or was, at `path`."""
    beside = (path.with_name(f"{path.name}{side}") for side in (*SIDE_FILES, "-journal"))
    return [one for one in beside if os.path.lexists(one)]


def _set_logs_aside(path: Path) -> None:
    moment = time.time_ns()
    for log in _logs_beside(path):
        if log.name.endswith("-shm"):  # an index of the log, which SQLite makes again
            log.unlink()
        else:
            log.rename(log.with_name(f"{log.name}.left-{moment}"))
