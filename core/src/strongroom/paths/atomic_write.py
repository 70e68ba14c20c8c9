"""Files that are written whole or not at all, and never through somebody's link."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

from strongroom.paths.new_file import NewFile

__all__ = ["owned_like", "write_atomically"]


def owned_like(descriptor: int, before: os.stat_result) -> int:
    """Give a new file the owner and group of the old one, if possible, and return the permissions for it."""
    own = os.fstat(descriptor)
    if (own.st_uid, own.st_gid) != (before.st_uid, before.st_gid):
        try:
            os.fchown(descriptor, before.st_uid, before.st_gid)
        except OSError:  # only root gives files away, but others may give them to a group of theirs
            with contextlib.suppress(OSError):
                os.fchown(descriptor, -1, before.st_gid)
    mode = stat.S_IMODE(before.st_mode) & 0o777
    if os.fstat(descriptor).st_gid != before.st_gid:
        # The rights were those of another group.
        mode = mode & ~stat.S_IRWXG | (mode & stat.S_IRWXO) << 3
    return mode


def write_atomically(
    path: Path, data: bytes, *, mode: int = 0o600, like: os.stat_result | None = None
) -> None:
    """Write `data` beside `path` and replace what is there, in one step.

    Args:
        path: A symbolic link is replaced, not followed.
        data: What the file holds in the end.
        mode: The permissions of the new file, whatever the umask.
        like: A file whose owner, group and permissions it gets instead, if possible.

    Raises:
        OSError: It cannot be written; the error's `filename` is the folder or `path`, not the temporary file.
    """
    folder = path.absolute().parent
    try:
        new = NewFile(folder)
    except OSError as error:
        error.filename = str(folder)
        raise
    with new:
        try:
            new.write(data)
            os.fchmod(new.descriptor, mode if like is None else owned_like(new.descriptor, like))
            new.sync()
            new.replace(path)
        except OSError as error:
            error.filename = str(path)
            raise
