"""A hook of PyInstaller, by the entry point `pyinstaller40`, so that packed programs have all plugins."""

from __future__ import annotations

from pathlib import Path

__all__ = ["hook_dirs"]


def hook_dirs() -> list[str]:
    """Return the folder of `hook-strongroom.py`, which runs if a program imports strongroom."""
    return [str(Path(__file__).parent)]
