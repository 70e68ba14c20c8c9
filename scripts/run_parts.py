"""Run the parts of `make test`, and say at the end how long each took and how its tests ended.

`python scripts/run_parts.py lint types …`: each is a target of the Makefile. All of them are run, also after
one that failed; it ends with 1 where one did.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SUMMARY = Path(__file__).resolve().parent.parent / ".cache" / "summary.txt"


def main(*parts: str) -> int:
    """Run them and print the summary."""
    lines, failed = [], False
    with tempfile.TemporaryDirectory() as folder:
        for number, part in enumerate(parts, 1):
            print(f"[{number}/{len(parts)}] make {part}", flush=True)
            outcomes = Path(folder, part)
            started = time.monotonic()
            done = subprocess.run(
                ["make", "--no-print-directory", part],
                env={**os.environ, "TEST_OUTCOMES": str(outcomes)},
                check=False,
            )
            failed |= done.returncode != 0
            verdict = "ok" if done.returncode == 0 else "FAILED"
            lines.append(
                f"{part:8} {verdict:6} {time.monotonic() - started:5.0f} s  {counts(outcomes)}".rstrip()
            )
    SUMMARY.parent.mkdir(exist_ok=True)
    SUMMARY.write_text("\n".join(lines) + "\n")
    print(f"\n{SUMMARY.read_text()}", end="", flush=True)
    return int(failed)


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
