"""What a forked child does with connections of its parent: nothing, for ever."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["never_close"]


def never_close(connections: Iterable[object]) -> None:
    """Keep connections from being closed, even as the interpreter ends: SQLite's locks are the parent's."""
    held = list(connections)
    if held:
        import ctypes

        for connection in held:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))
