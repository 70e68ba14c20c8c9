"""Whether something else is installed than a moment ago, without looking at the metadata themselves."""

from __future__ import annotations

import os
import sys

__all__ = ["installed"]


def installed() -> tuple[str, ...]:
    """Return a text for each folder of modules, which changes when something is installed or removed there.

    It is the time of the folder. The first one is that of the program, where other files come and go: there
    only the names of installed distributions count.
    """
    first, *others = sys.path or [""]
    named = _distributions(first)
    return (f"{first}:{named}" if named else "", *(f"{one}:{_changed(one)}" for one in others))


def _distributions(folder: str) -> str:
    try:
        names = os.listdir(folder or ".")
    except OSError:
        return ""
    return ",".join(sorted(name for name in names if name.endswith((".dist-info", ".egg-info", ".egg"))))


def _changed(folder: str) -> int:
    try:
        return os.stat(folder or ".").st_mtime_ns
    except OSError:
        return 0
