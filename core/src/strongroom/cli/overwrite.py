"""Refuses to replace an existing file."""

from __future__ import annotations

import os
from pathlib import Path

from strongroom.cli import errors

__all__ = ["refuse_existing"]


def refuse_existing(path: Path, *, overwrite: bool, hint: str) -> None:
    """Raise `UsageError` with the exit code of a conflict if `path` exists, unless `overwrite`."""
    if not overwrite and os.path.lexists(path):
        raise errors.UsageError(f"{path} is there already", code=errors.CONFLICT, hint=hint)
