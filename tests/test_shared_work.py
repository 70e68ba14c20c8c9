"""What the workers of a run do once between them, they find done when they collect."""

from __future__ import annotations

import sys

from hypothesis.configuration import set_hypothesis_home_dir, storage_directory
from hypothesis.internal.constants_ast import constants_from_module
from shared_work import find_share_of_constants

pytest_plugins = "pytester"

ROOT_CONFTEST = """
import sys
sys.path.insert(0, {helpers!r})
from shared_work import rewrite_share

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


def test_the_constants_of_each_module_are_found_by_one_worker(tmp_path):
    before = storage_directory("constants").path.parent
    for number in range(5):
        source = tmp_path / ("core" if number % 2 else "plugins/one") / "src" / f"module_{number}.py"
        source.parent.mkdir(parents=True, exist_ok=True)
        source.write_text(f"LIMIT = 123{number}\n")
    set_hypothesis_home_dir(tmp_path / "home")
    try:
        shares = []
        for worker in range(3):
            find_share_of_constants(tmp_path, worker, 3)
            shares.append(len([*(tmp_path / "home" / "constants").iterdir()]))
    finally:
        set_hypothesis_home_dir(before)
        constants_from_module.cache_clear()
    assert shares == [2, 4, 5]
