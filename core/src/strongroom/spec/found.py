"""The spec in the current folder or above it. A plain `get` imports this."""

from __future__ import annotations

import os
from typing import Final

from strongroom._frozen import NamedTuple
from strongroom.paths.ownership import others_may_write

__all__ = ["SPEC_FILE", "FoundSpec", "find_spec"]


SPEC_FILE: Final = "strongroom.yaml"


class FoundSpec(NamedTuple):
    """A spec that nobody named, so that it is used only where it may be; see `strongroom.spec.trust`.

    Not a path: otherwise it could be mistaken for a spec that somebody named.

    Attributes:
        path: `strongroom.yaml` in the current folder; above it, the whole path.
    """

    path: str


def find_spec() -> FoundSpec | None:
    """Return the `strongroom.yaml` of the current folder, or of the nearest one above that has one.

    The last folder that is looked at is one that holds `.git`, the home folder, or the last one of the file
    system. Above the current folder a spec is passed over where others may write its folder.
    """
    if os.path.lexists(SPEC_FILE):
        return FoundSpec(SPEC_FILE)
    try:
        folder = os.getcwd()
        status, home = os.stat(folder), _home()
        while not ((status.st_dev, status.st_ino) == home or os.path.lexists(f"{folder}/.git")):
            above = os.path.dirname(folder)
            beyond = os.stat(above)
            if above == folder or beyond.st_dev != status.st_dev:
                break
            folder, status = above, beyond
            path = os.path.join(folder, SPEC_FILE)
            if os.path.lexists(path) and not others_may_write(status):
                return FoundSpec(path)
    except OSError:  # the current folder is gone, or one above may not be looked at
        return None
    return None


def _home() -> tuple[int, int] | None:
    if os.environ.get("HOME") == "":  # it would be the root folder
        return None
    try:
        home = os.stat(os.path.expanduser("~"))
    except OSError:
        return None
    return home.st_dev, home.st_ino
