"""Build wheels and sdists of every distribution of the repository into a folder, the same bytes each time."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def distributions(root: Path = ROOT) -> list[Path]:
    """Return the folders of all distributions."""
    return [root, root / "core", *sorted(path.parent for path in root.glob("plugins/*/pyproject.toml"))]


def committed_at() -> str:
    """Return when the last commit was made, in seconds since 1970: the time of all files in archives."""
    done = subprocess.run(
        ["git", "log", "-1", "--format=%ct"], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return done.stdout.strip()


def build(folder: Path, out: Path, environment: Mapping[str, str] | None = None) -> None:
    """Build one distribution.

    Args:
        folder: Where its `pyproject.toml` is.
        out: Where its wheel and its sdist go.
        environment: The variables that count; `SOURCE_DATE_EPOCH` among them makes the bytes repeatable.
    """
    out.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        sys.exit(f"{folder.name}: {done.stdout[-2000:]}{done.stderr[-2000:]}")


def main(target: str) -> None:
    """Build all into `target`."""
    out = Path(target).absolute()
    environment = {**os.environ, "SOURCE_DATE_EPOCH": os.environ.get("SOURCE_DATE_EPOCH") or committed_at()}
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:  # each waits for a process
        list(pool.map(lambda folder: build(folder, out, environment), distributions()))
    print(f"{len(list(out.glob('*.whl')))} wheels in {target}")


if __name__ == "__main__":
    main(*sys.argv[1:])
