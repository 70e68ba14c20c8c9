"""Finding the spec in the current folder or above it. A plain `get` imports this."""

from __future__ import annotations

import os
from typing import Final

from strongroom._frozen import NamedTuple
from strongroom.paths.ownership import others_may_write

__all__ = ["SPEC_FILE", "FoundSpec", "find_spec"]


SPEC_FILE: Final = "strongroom.yaml"


class FoundSpec(NamedTuple):
    """A spec that the caller did not name, used only if that is safe; see `strongroom.spec.trust`.

    It is not a path, so that it cannot be mistaken for a spec that was named.

    Attributes:
        path: `strongroom.yaml` if it is in the current folder, else its absolute path.
    """

    path: str


def find_spec() -> FoundSpec | None:
    """Return the `strongroom.yaml` of the current folder, or of the nearest one above that has one.

    The last folder that is looked at is one that holds `.git`, the home folder, or the last one of the file
    system. Above the current folder a spec is passed over if others may write its folder.
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
