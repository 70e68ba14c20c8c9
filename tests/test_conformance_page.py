"""docs/reference/conformance.md counts the tests that there are; the sample of them that `make test` runs is wide."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest
from strongroom.testing.middleware import CHAIN

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / "scripts" / "write_conformance.py"
MIDDLEWARE = "|".join(name.title() for name in CHAIN)
WHOLLY_TORTURE = ("plugins/pass/", "plugins/sops/")
KIT = re.compile(
    rf"(?P<provider>[^:]+::\w+)BehindMiddleware::\w+Behind(?P<middleware>All|{MIDDLEWARE})::(?P<test>\w+?)(?:_beyond|_together)*(\[.+)?",
    re.DOTALL,
)


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("write_conformance", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def behind(tests):
    """Return provider, middleware and test of each that is behind middleware."""
    return [match.group("provider", "middleware", "test") for test in tests if (match := KIT.fullmatch(test))]


def test_one_kit(script):
    """The page has its rows, and its sample is what it should be."""
    found = script.collected("plugins/env/tests/test_conformance.py")
    lines = "\n".join(script.page(found["classes"])).splitlines()
    assert len(found["classes"]) >= 1 + 7
    assert set(lines) - set(script.PAGE.read_text().splitlines()) == set(), "run scripts/write_conformance.py"
    check_sample(found, providers=1)


@pytest.mark.torture
def test_all_kits(script):
    """The page is what would be written; the sample has each test with each middleware, too."""
    found = script.collected()
    assert script.PAGE.read_text() == "\n".join(script.page(found["classes"])) + "\n"
    # Two have a program at each call, and one of them not everywhere: `make torture` runs all of these.
    found["beyond"] = [test for test in found["beyond"] if not test.startswith(WHOLLY_TORTURE)]
    files = [*script.ROOT.glob("plugins/*/tests/test_conformance.py")]
    check_sample(found, providers=len(files) - len(WHOLLY_TORTURE))
    sample = {one[1:] for one in behind(found["sample"])}
    assert {one[1:] for one in behind(found["beyond"])} - sample == set()


def check_sample(found, providers):
    """Check that it has each provider behind each middleware. Bare, each provider has each test in `make test`."""
    assert len(found["beyond"]) > 1_500 * providers
    assert set(found["beyond"]).isdisjoint(found["sample"])
    met = defaultdict(set)
    for provider, middleware, _ in behind(found["sample"]):
        met[provider].add(middleware)
    assert len(met) >= providers
    assert {provider: names for provider, names in met.items() if len(names) != 7} == {}


@pytest.mark.torture
def test_each_test_is_in_one_command_or_the_other():
    """Tests without the mark are what `make test` collects, tests with it what `make torture` does."""
    path = "plugins/env/tests/test_conformance.py"

    def collected(mark):
        command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-n", "0", "-m", mark, path]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        return {line for line in done.stdout.splitlines() if "::" in line}

    run, left, all_of_them = (collected(mark) for mark in ("not torture", "torture", ""))
    assert run | left == all_of_them
    assert not run & left
    assert min(len(run), len(left)) > 100
