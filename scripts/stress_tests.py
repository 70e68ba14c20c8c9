"""`make test-under-load`: the tests again and again on a busy machine, each time in another order.

`python scripts/stress_tests.py [RUNS] [pytest's arguments …]`: four processes compute and hold 256 MiB each;
runs take 8, 2, 8, 2 and 1 workers in turn. The number of a run decides the order of modules and of their
tests, which `--shuffle=NUMBER` repeats. At the end it says which tests failed, and how often; it ends with 1
if any did.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_BUSY = 4
_WORKERS = (1, 8, 2, 8, 2)
_LOAD = """
import os
held, ours = bytearray(256 << 20), os.getppid()
while os.getppid() == ours:  # however that one ends
    for at in range(0, len(held), 4096):
        held[at] ^= 1
"""
_FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)


def run(number: int, arguments: list[str]) -> tuple[int, list[str]]:
    """Run the tests once; return how pytest ended, and the tests that failed."""
    options = ["-q", "-rfE", "--tb=short", "-n", str(_WORKERS[number % len(_WORKERS)]), f"--shuffle={number}"]
    print(f"[{number}] pytest {' '.join([*options, *arguments])}", flush=True)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        print(done.stdout[-20_000:], done.stderr[-20_000:], flush=True)
    print(f"[{number}] {done.stdout.strip().rpartition(chr(10))[2]}", flush=True)
    return done.returncode, _FAILED.findall(done.stdout)


def main(*words: str) -> int:
    """Run them all under load."""
    runs, arguments = (int(words[0]), list(words[1:])) if words and words[0].isdigit() else (10, list(words))
    failures: Counter[str] = Counter()
    codes = []
    busy = [subprocess.Popen([sys.executable, "-c", _LOAD]) for _ in range(_BUSY)]
    try:
        for number in range(1, runs + 1):
            code, failed = run(number, arguments)
            codes.append(code)
            failures.update(failed)
    finally:
        for process in busy:
            process.kill()
            process.wait()
    for name, times in failures.most_common():
        print(f"{times} of {len(codes)}: {name}")
    print(f"{codes.count(0)} of {len(codes)} runs passed")
    return int(any(codes))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
