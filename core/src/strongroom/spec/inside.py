"""Whether a path stays in a folder, wherever symbolic links lead. A plain `get` imports this."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from itertools import chain

__all__ = ["why_outside"]

_MANY = 10_000


def why_outside(path: str, folder: str) -> str | None:
    """Return why using `path` may reach files outside of `folder`, as a phrase after "it"; else None.

    Files beside it whose names begin with its name, such as a store's journal or a log's key, are checked
    too, and all files in a folder. A file with a second name may be one from elsewhere.
    """
    whole = os.path.realpath(folder)
    try:
        for count, at in enumerate(chain([path], _belonging(path))):
            if count > _MANY:
                return f"uses {path!a}, a folder of more than {_MANY} files"
            real = os.path.realpath(at)
            if real != whole and not real.startswith(whole.rstrip("/") + "/"):
                link = "" if os.path.normpath(at) == real else f", where {at!a} leads"
                return f"uses {real!a} outside of its folder{link}"
            if os.path.lexists(real):
                status = os.lstat(real)
                if stat.S_ISREG(status.st_mode) and status.st_nlink > 1:
                    return f"uses {at!a}, which has another name somewhere (a hard link)"
    except (OSError, ValueError) as error:
        return f"names a path that cannot be looked at ({type(error).__name__})"
    return None


def _belonging(path: str) -> Iterator[str]:
    above, name = os.path.split(path)
    try:
        with os.scandir(above) as found:
            beside = [one.path for one in found if one.name.startswith((f"{name}.", f"{name}-"))]
    except (FileNotFoundError, NotADirectoryError):
        return
    yield from beside
    for one, folders, files in os.walk(path):
        yield from (os.path.join(one, inner) for inner in (*folders, *files))
