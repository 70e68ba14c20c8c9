"""Programs of other people in an environment of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def python_with(folder, *packages):
    """Return a new environment's interpreter with these packages in it."""
    uv, python = Path(sys.executable).parent / "uv", folder / "venv" / "bin" / "python"
    subprocess.run([str(uv), "venv", "-q", "-p", sys.executable, str(folder / "venv")], check=True)
    subprocess.run([str(uv), "pip", "install", "-q", "--python", str(python), *packages], check=True)
    return python
