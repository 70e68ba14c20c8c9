"""Programs that PyInstaller packs have all plugins: it asks the entry point `pyinstaller40` for a hook."""

from __future__ import annotations

from pathlib import Path

__all__ = ["hook_dirs"]


def hook_dirs() -> list[str]:
    """Return the folder of `hook-strongroom.py`, run where a program imports strongroom."""
    return [str(Path(__file__).parent)]
