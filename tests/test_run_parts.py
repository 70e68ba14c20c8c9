"""`make test` runs its parts at the same time, loses none of what they say, and fails where one of them does."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parent.parent / "scripts"

# Each waits for what another one says, so one after another none ends well: a bound, not a time that is met.
MAKEFILE = """
lint:
\t@timeout 120 sh -c 'echo x > to-types; cat < to-lint > lint-met'; echo what lint says; exit $(LINT)
types:
\t@timeout 120 sh -c 'cat < to-types > types-met; echo x > to-lint; echo what types says; echo x > to-unit'
unit:
\t@timeout 120 sh -c 'cat < to-unit > unit-met; echo what unit says'
\t@echo '{"passed": 2, "failed": 0, "skipped": 1}' > $$TEST_OUTCOMES
"""


@pytest.fixture
def parts(tmp_path):
    (tmp_path / "scripts").mkdir()
    shutil.copy(SCRIPTS / "run_parts.py", tmp_path / "scripts")
    subprocess.run(["mkfifo", "to-types", "to-lint", "to-unit"], cwd=tmp_path, check=True)

    def run(lint):
        (tmp_path / "Makefile").write_text(MAKEFILE.replace("$(LINT)", str(lint)))
        return subprocess.run(
            [sys.executable, "scripts/run_parts.py", "lint", "types", "unit"],
            cwd=tmp_path,
            check=False,
            capture_output=True,
            text=True,
        )

    return run


def test_they_run_at_the_same_time_and_a_good_one_is_one_line(parts, tmp_path):
    done = parts(lint=0)
    assert done.returncode == 0, done.stderr
    assert "what unit says" in done.stdout
    assert "what lint says" not in done.stdout
    summary = (tmp_path / ".cache" / "summary.txt").read_text()
    assert [line.split()[:2] for line in summary.splitlines()] == [
        ["lint", "ok"],
        ["types", "ok"],
        ["unit", "ok"],
    ]
    assert summary.endswith("2 passed, 0 failed, 1 skipped\n")
    assert done.stdout.endswith(summary)


def test_one_that_fails_is_shown_whole_and_fails_the_run(parts):
    done = parts(lint=3)
    assert done.returncode == 1
    assert "what lint says" in done.stdout
    assert "what types says" not in done.stdout
    assert "lint     FAILED" in done.stdout
    assert "unit     ok" in done.stdout
