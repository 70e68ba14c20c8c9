"""Finding the spec in the current folder or above it. A plain `get` imports this."""

from __future__ import annotations

import os
from collections.abc import Iterator

from strongroom.paths.ownership import others_may_write
from strongroom.runtime.frozen import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

__all__ = ["SPEC_FILE", "FoundSpec", "find_spec", "passed_over"]


SPEC_FILE: Final = "strongroom.yaml"
_MISNAMED: Final = "strongroom.yml"


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
    return next((spec for spec, passed_over in _specs() if not passed_over), None)


def passed_over() -> str:
    """Return what to add to "there is no spec": which one is not used, and why; else nothing."""
    if os.path.lexists(_MISNAMED):
        return f"; {_MISNAMED} is not read: a spec is called {SPEC_FILE}"
    names = [spec.path for spec, passed_over in _specs() if passed_over]
    return f"; {names[0]} is passed over, because others may write its folder" if names else ""


def _specs() -> Iterator[tuple[FoundSpec, bool]]:
    """Yield each spec from the current folder upwards, and whether it is passed over."""
    if os.path.lexists(SPEC_FILE):
        yield FoundSpec(SPEC_FILE), False
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
            if os.path.lexists(path):
                yield FoundSpec(path), others_may_write(status)
    except OSError:  # the current folder is gone, or one above may not be looked at
        return


def _home() -> tuple[int, int] | None:
    if os.environ.get("HOME") == "":  # it would be the root folder
        return None
    try:
        home = os.stat(os.path.expanduser("~"))
    except OSError:
        return None
    return home.st_dev, home.st_ino
