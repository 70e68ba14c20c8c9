"""Build wheels and sdists of every distribution of the repository into a folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def distributions() -> list[Path]:
    """Return the folders of all distributions."""
    return [ROOT, ROOT / "core", *sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))]


def main(target: str) -> None:
    """Build all into `target`."""
    out = Path(target).absolute()
    out.mkdir(parents=True, exist_ok=True)
    for folder in distributions():
        command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{folder.relative_to(ROOT.parent)}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    wheels = sorted(path.name for path in out.glob("*.whl"))
    print(f"{len(wheels)} wheels in {target}")


if __name__ == "__main__":
    main(*sys.argv[1:])
