"""What a command says where it would write over a file."""

from __future__ import annotations

import os
from pathlib import Path

from strongroom.cli import errors

__all__ = ["refuse_existing"]


def refuse_existing(path: Path, *, overwrite: bool, hint: str) -> None:
    """Raise `UsageError` with the exit code of a conflict where there is something at `path`."""
    if not overwrite and os.path.lexists(path):
        raise errors.UsageError(f"{path} is there already", code=errors.CONFLICT, hint=hint)
