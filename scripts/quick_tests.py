"""`make quick`: the tests that a change touches first, found by imports; none that needs a server.

What changed is what git says differs from HEAD, or where nothing does, what the last commit changed. Test
modules come in the order of how many imports lie between them and a change, as many as fit into half a minute
by what their tests took when they were run last; what would begin later is left out, and counted. Where no
module imports what changed, any that fit.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = [ROOT / "core" / "src", *sorted(ROOT.glob("plugins/*/src"))]
DURATIONS = ROOT / ".cache" / "durations.json"
_SECONDS = 25
_GUESS, _GUESS_OF_A_PROCESS = 0.03, 0.4
"""Seconds of a test that was never run, without and with processes of its own."""
_GUESS_OF_PARAMETERS = 6
_COLLECTING = 0.15
"""Seconds that a module takes before its first test."""


def changed() -> set[str]:
    """Return the changed files, relative to the repository."""

    def listed_by_git(*words: str) -> set[str]:
        done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True)
        return set(done.stdout.splitlines())

    now = listed_by_git("diff", "--name-only", "HEAD") | listed_by_git(
        "ls-files", "--others", "--exclude-standard"
    )
    return now or listed_by_git("diff", "--name-only", "HEAD~1", "HEAD")


def modules() -> dict[str, Path]:
    """Return the files of the distributions, by the name that imports them."""
    found = {}
    for source in SOURCES:
        for path in source.rglob("*.py"):
            parts = path.relative_to(source).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(path: Path, known: dict[str, Path]) -> Iterator[Path]:
    """Yield the files of `known` that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            names = [name.name for name in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module, *(f"{node.module}.{name.name}" for name in node.names)]
        else:
            continue
        yield from (known[name] for name in names if name in known)


def ordered() -> list[Path]:
    """Return the test modules that a change reaches, the nearest first."""
    known = modules()
    tests = [
        path for where in ("core/tests", "plugins", "tests") for path in (ROOT / where).rglob("test_*.py")
    ]
    users: dict[Path, set[Path]] = {}
    for path in [*known.values(), *tests]:
        for used in imported(path, known):
            users.setdefault(used, set()).add(path)
    front = {ROOT / name for name in changed()}
    helped = {
        path for path in tests for name in front if "tests" in name.parts and name.parent == path.parent
    }
    seen, order = set(front), sorted(front.intersection(tests)) + sorted(helped - front)
    while front:
        front = {user for path in front for user in users.get(path, ())} - seen
        seen |= front
        order += sorted(front.intersection(tests).difference(order))
    return [path for path in order if path.is_file()] or sorted(tests)


def fitting(paths: list[Path]) -> list[str]:
    """Return as many as fit, as pytest is to have them."""
    took: dict[str, float] = json.loads(DURATIONS.read_text()) if DURATIONS.is_file() else {}
    left, chosen = float(_SECONDS), []
    for path in paths:
        name = path.relative_to(ROOT).as_posix()
        text = path.read_text()
        each = _GUESS_OF_A_PROCESS if "subprocess" in text or "cli" in path.parts else _GUESS
        times = _GUESS_OF_PARAMETERS if "parametrize" in text or "Conformance" in text else 1
        cost = _COLLECTING + took.get(name, each * times * text.count("def test_"))
        if cost <= left:
            left -= cost
            chosen.append(name)
    return chosen


def main() -> int:
    """Run them."""
    reached = ordered()
    chosen = fitting(reached)
    print(f"{len(chosen)} of the {len(reached)} test modules that the change reaches", flush=True)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "--failed-first",
        f"--for-seconds={_SECONDS}",
        "-m",
        "not torture and not server",
        *chosen,
    ]
    code = subprocess.run(command, cwd=ROOT, check=False).returncode
    return 0 if code == pytest.ExitCode.NO_TESTS_COLLECTED else code  # where all of them need a server


if __name__ == "__main__":
    sys.exit(main())
