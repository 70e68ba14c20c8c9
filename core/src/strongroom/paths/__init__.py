"""Paths that a user or a spec names: the folder behind `~`, the owner of a file, whole and lasting writes."""

from __future__ import annotations

import os

__all__ = ["plain_path", "sync_folder"]


def plain_path(path: str | os.PathLike[str]) -> str:
    """Return the text of a path as `pathlib` writes it: without a `.` in it, and no slash too many.

    Most are written so, and need no `pathlib`, which takes long to import.
    """
    text = os.fspath(path)
    plain = isinstance(text, str) and text and "//" not in text and "/./" not in text
    if plain and not text.startswith("./") and not text.endswith(("/", "/.")):
        return text
    from pathlib import Path

    return str(Path(text))


def sync_folder(folder: str | os.PathLike[str]) -> None:
    """Make sure that the names in `folder` are on the disk.

    Raises:
        OSError: The disk failed. A file system that cannot sync folders has nothing to wait for.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        import errno

        if error.errno not in {errno.EINVAL, errno.EBADF, errno.EOPNOTSUPP}:
            raise
    finally:
        os.close(descriptor)
