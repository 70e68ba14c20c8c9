"""Files that hold a key: who may own and read them, and how a key is replaced.

A key file may be a symbolic link, as all files of a Kubernetes volume are. It is followed each time that the
key is read, since it may lead elsewhere by then.
"""

from __future__ import annotations

import contextlib
import os
import stat
import warnings
from typing import TYPE_CHECKING, Final

from strongroom.errors import (
    BackendUnavailableError,
    ConfigurationError,
    ConflictError,
    PermissionDeniedError,
    ReadOnlyError,
)
from strongroom.paths import plain_path, sync_folder

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "MAX_BYTES",
    "NEXT",
    "NEXT_FOR_ALL",
    "KeyFileWarning",
    "content_of",
    "keep_old",
    "keep_out_of_git",
    "link_target",
    "next_for_all",
    "next_key_file",
    "old_key_file",
    "others_may_read",
    "place",
    "plain_path",
    "read_bytes",
    "refuse_link",
    "replace",
    "text_in",
]

MAX_BYTES: Final = 4096
"""A longer file holds no key."""
NEXT: Final = ".next"
NEXT_FOR_ALL: Final = ".next-all"
"""Added to the name of a key file for the key that will replace it."""
_MODE: Final = 0o600


class KeyFileWarning(UserWarning):
    """Others may read a file that holds a key."""


def read_bytes(path: str | os.PathLike[str], what: str = "the key file") -> bytes | None:
    """Return what a key file holds, at most `MAX_BYTES` and one byte more; None if there is no file.

    Warns with `KeyFileWarning` if others may read it.

    Raises:
        ConfigurationError: It is not an ordinary file, or somebody else's, or everybody may write it.
        PermissionDeniedError: It may not be read.
        BackendUnavailableError: It cannot be read.
    """
    name = os.fspath(path)
    try:
        link = os.lstat(name)
        _check(link, os.stat(name), f"{what} {name}")  # noqa: PTH116  # stays text
        descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        if os.path.islink(name):  # noqa: PTH114  # stays text
            raise ConfigurationError(
                f"{what} {name} is a symbolic link that leads nowhere",
                hint="put back what it names, or name another file",
            ) from None
        return None
    except OSError as error:
        raise _failure(error, "read", name) from error
    try:
        status = os.fstat(descriptor)
        _check(link, status, f"{what} {name}")
        data = os.read(descriptor, MAX_BYTES + 1)
    except OSError as error:
        raise _failure(error, "read", name) from error
    finally:
        os.close(descriptor)
    complaint = _others(status)
    if complaint is not None:
        warnings.warn(f"{what} {name}: {complaint}; chmod 600 it", KeyFileWarning, stacklevel=2)
    return data


def text_in(data: bytes) -> str | None:
    """Return the key in what `read_bytes` has read, without the end of its line; None if it cannot be one."""
    if len(data) > MAX_BYTES:
        return None
    try:
        return data.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        return None


def content_of(key: str) -> bytes:
    """Return what a key file that holds `key` contains.

    Raises:
        ConfigurationError: Another key would be read from it, or none; or it has several lines, as text has
            that is not meant as a key.
    """
    data = f"{key}\n".encode()
    if len(data) <= MAX_BYTES and not {"\n", "\r"} & {*key}:
        return data
    raise ConfigurationError(
        f"the new key cannot be kept in a key file: it has several lines, or more than {MAX_BYTES - 1} bytes",
        hint="make one with `strongroom keygen`",
    )


def others_may_read(path: str | os.PathLike[str]) -> str | None:
    """Return who else may read a key file, in words; None if nobody may, or there is no file."""
    try:
        return _others(os.stat(path))  # noqa: PTH116  # stays text
    except OSError:
        return None


def _check(link: os.stat_result, status: os.stat_result, what: str) -> None:
    trusted = {os.geteuid(), 0}
    if not stat.S_ISREG(status.st_mode):
        raise ConfigurationError(
            f"{what} is not an ordinary file", hint="name a file, not a folder or a device"
        )
    if status.st_uid not in trusted:
        raise ConfigurationError(
            f"{what} belongs to another user", hint="copy it, and make the copy your own"
        )
    if link.st_uid not in trusted:
        raise ConfigurationError(
            f"{what} is a symbolic link that belongs to another user", hint="name the file that it leads to"
        )
    if status.st_mode & stat.S_IWOTH:
        raise ConfigurationError(f"everybody may write {what}", hint="chmod 600 it, and make a new key")


def _others(status: os.stat_result) -> str | None:
    if status.st_mode & stat.S_IRWXO:
        return "everybody may read it"
    # A file of root's that its group may read is meant for the process, as by Kubernetes' `fsGroup`.
    if status.st_mode & stat.S_IRWXG and status.st_uid == os.geteuid():
        return "others may read it: its group"
    return None


# --- replacing one ---


def next_key_file(path: Path) -> Path:
    """Return where a rekey keeps the key that will replace the one in `path`."""
    return path.with_name(f"{path.name}{NEXT}")


def next_for_all(path: Path) -> Path:
    """Return where a rekey of everything that uses `path` keeps the next key until it is done."""
    return path.with_name(f"{path.name}{NEXT_FOR_ALL}")


def old_key_file(path: Path, key_id: str) -> Path:
    """Return where a rekey leaves the key that was in `path`."""
    return path.with_name(f"{path.name}.old-{key_id}")


def link_target(path: Path) -> Path | None:
    """Return where a symbolic link leads; None where `path` is not one."""
    from pathlib import Path  # not needed to read a key

    return Path(os.path.realpath(path)) if path.is_symlink() else None


def refuse_link(path: Path) -> None:
    """Raise if a key file is a symbolic link: whatever made the link has to bring the next key, too.

    Raises:
        ConfigurationError: It is one; the message names its target.
    """
    target = link_target(path)
    if target is not None:
        raise ConfigurationError(
            f"the key file {path} is a symbolic link to {target}, and is not replaced",
            hint="name that file as the key file, or give the new key to whatever makes the link",
        )


def keep_old(path: Path, key_id: str) -> Path:
    """Leave a copy of the key in `path` beside it, 0600, and out of git if `.gitignore` names the key file.

    Raises:
        ConflictError: There is another file of that name.
        PermissionDeniedError, ReadOnlyError, BackendUnavailableError: It cannot be written.
        ConfigurationError: No file can be at this path.
    """
    old = old_key_file(path, key_id)
    data = read_bytes(path)
    if data is None:
        raise ConfigurationError(f"the key file {path} is missing", hint="put it back, or restore a copy")
    keep_out_of_git(path)
    if not place(old, data) and read_bytes(old) != data:
        raise ConflictError(f"there is another file {old}", hint="move it away")
    return old


def keep_out_of_git(path: Path) -> None:
    """Let git ignore the copies of a key beside `path`, as it ignores the key: the next one, and old ones.

    `NAME.*` is added to each `.gitignore`, up to the repository's, that has a line for the key and not for
    its copies. One that cannot be read or written stays as it is.
    """
    own = path.absolute()
    copies = [own.with_name(f"{own.name}{ending}") for ending in (NEXT, NEXT_FOR_ALL, ".old-0")]
    for folder in own.parents:
        with contextlib.suppress(OSError, UnicodeDecodeError):
            ignored = folder / ".gitignore"
            lines = ignored.read_text("utf-8").splitlines()
            held = next((line.strip() for line in lines if _matches(line, own, folder)), None)
            if held is not None and not all(_is_among(lines, copy, folder) for copy in copies):
                end = "" if ignored.read_bytes().endswith(b"\n") else "\n"
                with ignored.open("a", encoding="utf-8") as file:
                    file.write(f"{end}{held[: held.rfind('/') + 1]}{own.name}.*\n")
        if (folder / ".git").exists():
            return


def _is_among(lines: list[str], path: Path, folder: Path) -> bool:
    return any(_matches(line, path, folder) for line in lines)


def _matches(line: str, path: Path, folder: Path) -> bool:
    """Return whether a line of the `.gitignore` in `folder` matches the file itself, not a folder of it."""
    from fnmatch import fnmatchcase

    pattern = line.strip().removeprefix("**/")
    text = path.relative_to(folder).as_posix() if "/" in pattern else path.name
    return not pattern.startswith(("#", "!")) and fnmatchcase(text, pattern.removeprefix("/"))


def place(path: Path, data: bytes) -> bool:
    """Make a file, 0600, whole or not at all; return whether it was made: an existing file stays.

    Raises:
        PermissionDeniedError, ReadOnlyError, BackendUnavailableError: It cannot be written.
        ConfigurationError: No file can be at this path.
    """
    from strongroom.paths.new_file import NewFile  # most processes make no file

    try:
        with NewFile(path.parent) as new:
            os.fchmod(new.descriptor, _MODE)
            new.write(data)
            new.sync()
            try:
                new.link(path)
            except FileExistsError:
                return False
        sync_folder(path.parent)
    except OSError as error:
        raise _failure(error, "make", path) from error
    return True


def replace(waiting: Path, path: Path) -> None:
    """Replace a key file by the next key, at once.

    Raises:
        PermissionDeniedError, ReadOnlyError, BackendUnavailableError: It cannot be written.
        ConfigurationError: No file can be at this path.
    """
    try:
        _sync(waiting)
        waiting.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise _failure(error, "replace", path) from error


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _failure(error: OSError, doing: str, path: str | os.PathLike[str]) -> Exception:
    import errno

    if isinstance(error, PermissionError):
        return PermissionDeniedError(
            f"may not {doing} {os.fspath(path)}",
            hint="let this user have the right, or run as one who has it",
        )
    if error.errno == errno.EROFS:
        return ReadOnlyError(
            f"cannot {doing} {os.fspath(path)}: the file system is read-only",
            hint="name a path on another one, or mount it writable",
        )
    if error.errno in {errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG}:
        return ConfigurationError(
            f"cannot {doing} {os.fspath(path)}: {error.strerror}", hint="correct the path"
        )
    hint = "make its folder, or correct the path" if error.errno == errno.ENOENT else None
    return BackendUnavailableError(f"cannot {doing} {os.fspath(path)}: {error.strerror}", hint=hint)
