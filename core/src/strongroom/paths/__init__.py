"""Paths that a user or a spec names: the folder behind `~`, the owner of a file, whole writes."""

from __future__ import annotations

import os

__all__ = ["plain_path"]


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
