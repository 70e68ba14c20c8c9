"""Run the parts of `make test`, and say at the end how long each took and how its tests ended.

`python scripts/run_parts.py lint types … unit`: each is a target of the Makefile. They run at the same time:
the types keep one processor busy, and for a part of theirs the tests wait for others. What the last one says
is seen as it comes; of each other, what it printed is seen as it ends where it failed, else one line. All of
them are run, even if one fails; it ends with 1 then.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

SUMMARY = Path(__file__).resolve().parent.parent / ".cache" / "summary.txt"


class Ended(NamedTuple):
    """How a part ended: with 0 or not, after how many seconds, with how many tests."""

    part: str
    code: int
    seconds: float
    tests: str

    def __str__(self) -> str:
        verdict = "FAILED" if self.code else "ok"
        return f"{self.part:8} {verdict:6} {self.seconds:5.0f} s  {self.tests}".rstrip()


def main(*parts: str) -> int:
    """Run them and print the summary."""
    print(f"make {', '.join(parts)}: at the same time; this is what {parts[-1]} prints", flush=True)
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(len(parts)) as pool:
        ended = list(pool.map(lambda part: run(part, Path(folder, part), quiet=part != parts[-1]), parts))
    SUMMARY.parent.mkdir(exist_ok=True)
    SUMMARY.write_text("".join(f"{one}\n" for one in ended))
    print(f"\n{SUMMARY.read_text()}", end="", flush=True)
    return int(any(one.code for one in ended))


def run(part: str, outcomes: Path, *, quiet: bool) -> Ended:
    """Run one part; where it is quiet, print in one piece, and all that it printed only where it failed."""
    started = time.monotonic()
    done = subprocess.run(
        ["make", "--no-print-directory", part],
        env={**os.environ, "TEST_OUTCOMES": str(outcomes)},
        stdout=subprocess.PIPE if quiet else None,
        stderr=subprocess.STDOUT if quiet else None,
        text=True,
        errors="replace",
        check=False,
    )
    ended = Ended(part, done.returncode, time.monotonic() - started, counts(outcomes))
    if quiet:
        print(f"\n{done.stdout if done.returncode else ''}{ended}", flush=True)
    return ended


def counts(outcomes: Path) -> str:
    """Return how many tests ended how, where the part ran any: `12 passed, 0 failed, 1 skipped`."""
    if not outcomes.is_file():
        return ""
    outcomes_by_name: dict[str, int] = json.loads(outcomes.read_text())
    always = ("passed", "failed", "skipped")
    return ", ".join(
        f"{number} {name}" for name, number in outcomes_by_name.items() if number or name in always
    )


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
