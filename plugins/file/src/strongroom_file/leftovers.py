"""Removes files under a temporary name beside a store: one's own, and those that killed processes left."""

from __future__ import annotations

import os
import re
import stat
import time
from contextlib import suppress
from pathlib import Path

__all__ = ["remove_leftovers", "remove_temporary"]

_ENDINGS = ("", "-journal", "-wal", "-shm")
_LONGEST_SECONDS = 86_400
"""Longer than anybody writes to such a file; a running process that does is not known otherwise."""


def remove_leftovers(path: Path) -> None:
    """Remove the temporary files for `path` that nobody has written to for a day; see `temporary_beside`."""
    pattern = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{16}}\.tmp({'|'.join(_ENDINGS)})", re.DOTALL)
    with suppress(OSError), os.scandir(path.parent) as entries:
        for entry in entries:
            if pattern.fullmatch(entry.name) and _is_left(entry):
                with suppress(OSError):
                    Path(entry.path).unlink()


def remove_temporary(path: Path) -> None:
    """Remove a temporary file, if it is still there, and what SQLite has left beside it."""
    for ending in _ENDINGS:
        with suppress(OSError):
            Path(f"{path}{ending}").unlink(missing_ok=True)


def _is_left(entry: os.DirEntry[str]) -> bool:
    with suppress(OSError):
        status = entry.stat(follow_symlinks=False)
        is_ours = stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid()
        return is_ours and time.time() - status.st_mtime > _LONGEST_SECONDS
    return False
