"""Whether another user can decide what a file holds: its owner, its permissions, and the links to it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

__all__ = ["distrust", "others_may_write", "own_bytes", "roots_own"]


def distrust(path: str | os.PathLike[str], status: os.stat_result) -> str | None:
    """Return why the file behind `path` is not to be trusted, such as "everybody may write it"; else None.

    The file, and each symbolic link that leads to it, must belong to this user or root, and not everybody may
    write the file.

    Args:
        path: As it was named.
        status: Of the file that was opened by it.
    """
    trusted = {os.geteuid(), 0}
    try:
        for at, link in _links(os.fspath(path)):
            if link.st_uid not in trusted:
                return f"the link {at} belongs to user {link.st_uid}, not to you or root"
    except OSError:
        return "it has just been changed"
    if status.st_uid not in trusted:
        return f"it belongs to user {status.st_uid}, not to you or root"
    return "everybody may write it" if status.st_mode & stat.S_IWOTH else None


def roots_own(path: str | os.PathLike[str], status: os.stat_result) -> bool:
    """Return whether root alone put the file behind `path` there: it belongs to root, as do the links to it.

    If the file has several names, root gave it this one only if root alone may write the folder.
    """
    try:
        if status.st_uid != 0 or any(link.st_uid != 0 for _, link in _links(os.fspath(path))):
            return False
        if status.st_nlink == 1:
            return True
        folder = os.stat(os.path.dirname(os.path.realpath(path)))
    except OSError:
        return False
    return folder.st_uid == 0 and not others_may_write(folder)


def others_may_write(status: os.stat_result) -> bool:
    """Return whether anybody except this user and root may write the file or folder with this status.

    Members of its group count as others, unless only this user is in it.
    """
    if status.st_uid not in {os.geteuid(), 0} or status.st_mode & stat.S_IWOTH:
        return True
    return bool(status.st_mode & stat.S_IWGRP) and not _is_private(status.st_gid)


def own_bytes(path: str, most: int, *, closed_to_others: int) -> bytes | None:
    """Return what is in a regular file of this user; None if there is none, or it is another's.

    Args:
        path: The file; a link in its place is not followed.
        most: A longer file is not read.
        closed_to_others: Bits of a mode that must not be set: rights of the group and of others.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        status = os.fstat(descriptor)
        mine = status.st_uid == os.geteuid() and not status.st_mode & closed_to_others
        if not (mine and stat.S_ISREG(status.st_mode)) or status.st_size > most:
            return None
        return os.read(descriptor, most)
    except OSError:
        return None
    finally:
        os.close(descriptor)


def _is_private(group: int) -> bool:
    """Return whether `group` is the private one that many systems make for each user; root has none."""
    import grp
    import pwd

    try:
        user, found = pwd.getpwuid(os.geteuid()), grp.getgrgid(group)
    except KeyError:
        return False
    alone = found.gr_name == user.pw_name and not {*found.gr_mem} - {user.pw_name}
    return alone and user.pw_gid == group and user.pw_uid != 0


def _links(at: str) -> Iterator[tuple[str, os.stat_result]]:
    """Yield each symbolic link that leads to a file, and its status."""
    for _ in range(40):  # as many links as Linux follows
        found = os.lstat(at)
        if not stat.S_ISLNK(found.st_mode):
            return
        yield at, found
        # Not a `Path`: a plain `get` does without pathlib.
        at = os.path.join(os.path.dirname(at), os.readlink(at))
