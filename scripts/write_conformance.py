"""Write docs/reference/conformance.md from the tests: how many of the kit's each provider is held to.

It collects and runs nothing, so it needs no server. With `--check` it writes nothing, and ends with 1 where
the page says something else.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE, STDOUT, run
from typing import Any

from strongroom.testing.middleware import CHAIN

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reference" / "conformance.md"
_LEAD = """\
Every provider must pass [the kit](../how-to/write-a-provider.md#what-the-kit-requires), on the server that
its tests start. The column *tests* counts the tests of the capabilities that the provider has: without
batches, it has no tests of batches. The next column says how many of them `make test` runs, and the
provider passes; `make torture` runs the rest.
"""
_BEHIND = """\
`make test` runs each test with each middleware once, on the provider memory with limits (the parameters of
a test are spread over the middleware), and each test on each provider without middleware. So for the other
providers a sample behind middleware is enough, with at least one test for each middleware. The sample has
each test once, behind one middleware or all, for a provider whose requests cost nothing, and one test in
twelve for a provider that asks a server. `prefix` and `tenant` make keys longer, so the longest keys are
cut there. A second provider may change what a cache remembers, so behind `caching` there is none. How a
provider is imported and made is tested only without middleware. `all` is each middleware around the next:
caching, retry, validation, tenant, prefix, encryption.
"""
_RECORDER = "conformance_recorder"


def modules() -> list[str]:
    """Return the test modules that hold a provider to the kit."""
    return sorted(
        path.relative_to(ROOT).as_posix() for path in ROOT.glob("plugins/*/tests/test_conformance*.py")
    )


def collected(*paths: str) -> dict[str, Any]:
    """Return what pytest collects of `paths`, or of all: `classes` by name, and tests behind middleware."""
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder, "found.json")
        environment = {
            **os.environ,
            "CONFORMANCE_RECORD": str(found),
            "PYTHONPATH": str(Path(__file__).parent),
        }
        command = [
            sys.executable,
            "-m",
            "pytest",
            "--collect-only",
            "-qq",
            "-n",
            "0",
            "-m",
            "",
            "-p",
            _RECORDER,
        ]
        done = run(
            [*command, *(paths or modules())],
            cwd=ROOT,
            env=environment,
            stdout=PIPE,
            stderr=STDOUT,
            text=True,
            check=False,
        )
        if done.returncode:
            sys.exit(f"{done.stdout[-4000:]}\nnot all could be collected")
        reports: dict[str, Any] = json.loads(found.read_text())
        return reports


def page(reports: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Yield the lines of the page."""
    reports = dict(sorted(reports.items()))
    yield "# Conformance"
    yield ""
    yield "<!-- Made by `python scripts/write_conformance.py` from the tests; changes here are lost. -->"
    yield ""
    yield _LEAD
    bare = {name: one for name, one in reports.items() if not _behind(name)}
    yield "## Providers"
    yield ""
    yield "| provider | tests | `make test` | waived |"
    yield "|---|---|---|---|"
    for name, one in bare.items():
        yield f"| {_title(name, one)} | {_numbers(one)} |"
    yield ""
    yield "## Behind middleware"
    yield ""
    yield _BEHIND
    yield "| provider | behind | tests | `make test` | waived |"
    yield "|---|---|---|---|---|"
    for name, one in reports.items():
        if _behind(name):
            yield f"| {_title(name, one)} | {_behind(name)} | {_numbers(one)} |"
    yield ""
    yield "## Tests that do not apply"
    yield ""
    yield "In this table, a test with parameters counts once."
    yield ""
    yield "| provider | tests | why |"
    yield "|---|---|---|"
    for name, one in bare.items():
        for why, number in sorted(one["left_out"].items()):
            yield f"| {_title(name, one)} | {number} | {why} |"
    yield ""
    yield "## Waivers"
    yield ""
    waivers = [(name, *waiver) for name, one in reports.items() for waiver in one["waivers"].items()]
    if not waivers:
        yield "There are none: no provider is excused from a test of a capability that it has."
        return
    yield "| provider | test | why |"
    yield "|---|---|---|"
    for name, test, why in waivers:
        yield f"| {_title(name, reports[name])} | `{test}` | {why} |"


def _behind(name: str) -> str | None:
    """Return the middleware that the kit of this name is run behind."""
    behind = name.rpartition("Behind")[2].lower()
    return behind if behind in {"all", *CHAIN} else None


def _title(name: str, one: dict[str, Any]) -> str:
    return one["title"] or name.partition("::")[2]


def _numbers(one: dict[str, Any]) -> str:
    return f"{one['tests']} | {one['tests'] - one['torture']} | {len(one['waivers'])}"


def main() -> int:
    """Write the page, or with `--check` compare it."""
    text = "\n".join(page(collected()["classes"])) + "\n"
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(text)
        return 0
    if text == PAGE.read_text():
        return 0
    sys.stderr.write(f"{PAGE.relative_to(ROOT)} says something else: run scripts/write_conformance.py\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
