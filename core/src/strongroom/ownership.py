"""Whether a stranger decides what a file says: its owner, who may write it, and the links that lead to it."""

from __future__ import annotations

import os
import stat

__all__ = ["distrust"]


def distrust(path: str | os.PathLike[str], status: os.stat_result) -> str | None:
    """Return why the file behind `path` is not to be trusted, such as "everybody may write it"; else None.

    A file, and each symbolic link in its place, has to belong to this user or root, and the world must not
    write the file.

    Args:
        path: As it was named.
        status: Of the file that was opened by it.
    """
    trusted = {os.geteuid(), 0}
    at = os.fspath(path)  # not a `Path`: a plain `get` does without pathlib
    for _ in range(40):  # as many links as Linux follows
        try:
            found = os.lstat(at)
            if not stat.S_ISLNK(found.st_mode):
                break
            if found.st_uid not in trusted:
                return f"the link {at} belongs to user {found.st_uid}, not to you or root"
            at = os.path.join(os.path.dirname(at), os.readlink(at))  # noqa: PTH115, PTH118, PTH120  # as above
        except OSError:  # changed since it was opened
            return f"{at} has just been changed"
    if status.st_uid not in trusted:
        return f"it belongs to user {status.st_uid}, not to you or root"
    return "everybody may write it" if status.st_mode & stat.S_IWOTH else None
