"""What the workers of a run do once between them, they find done when they collect."""

from __future__ import annotations

import sys

pytest_plugins = "pytester"

ROOT_CONFTEST = """
import sys
sys.path.insert(0, {helpers!r})
from rewriting import rewrite_share

def pytest_collection(session):
    shares = [rewrite_share(session.config, worker, 3) for worker in range(3)]
    again = [rewrite_share(session.config, worker, 3) for worker in range(3)]
    print("shares", shares, again)
"""


def test_each_module_is_rewritten_by_one_worker_and_collected_as_ever(pytester, request, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    pytester.makeconftest(ROOT_CONFTEST.format(helpers=str(request.path.parent)))
    modules = {f"test_{number}": f"def test_it():\n    assert {number} == 1, 'why'\n" for number in range(4)}
    pytester.makepyfile(**modules, helper="raise RuntimeError", test_broken="def")
    result = pytester.runpytest_inprocess(
        "-n0", "-p", "no:randomly", "--tb=short", "--continue-on-collection-errors"
    )
    result.stdout.fnmatch_lines(["shares [[]1, 2, 1[]] [[]0, 0, 0[]]", "*why", "*assert 3 == 1"])
    result.assert_outcomes(passed=1, failed=3, errors=1)
