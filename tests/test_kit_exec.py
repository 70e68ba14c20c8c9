"""`strongroom plugins kit-exec` on programs that keep to the rules, and on one that does not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import warm_command

EXAMPLE = Path(__file__).parent.parent / "examples" / "exec_store.py"


def kit(*command, before=()):
    words = [sys.executable, "-m", "strongroom", *before, "plugins", "kit-exec", "--", *map(str, command)]
    return subprocess.run(words, capture_output=True, text=True, check=False)


@pytest.fixture
def bare_kit(warm_strongroom, monkeypatch):
    """The same without the start of a Python, and without the plugins of pytest that happen to be here."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")

    def run(*command, before=()):
        return warm_command.run([warm_strongroom, *before, "plugins", "kit-exec", "--", *map(str, command)])

    return run


@pytest.mark.torture
def test_a_program_that_keeps_to_the_rules_passes_and_is_empty_again(tmp_path):
    left = tmp_path / "left.json"
    program = tmp_path / "store.py"
    program.write_text(
        EXAMPLE.read_text().replace(
            "    store = Store()\n",
            "    store = Store()\n    import atexit, pathlib\n"
            f"    atexit.register(lambda: pathlib.Path({str(left)!r}).write_text(json.dumps([*store.versions])))\n",
        )
    )
    done = kit(sys.executable, "-I", program)
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
    assert "failed" not in done.stdout
    assert "warning" not in done.stdout
    assert json.loads(left.read_text()) == []


@pytest.mark.torture
def test_a_program_that_loses_case_fails(tmp_path):
    wrong = tmp_path / "wrong.py"
    wrong.write_text(EXAMPLE.read_text().replace("json.loads(line)", "json.loads(line.lower())"))
    done = kit(sys.executable, "-I", wrong, before=["--json"])
    told = json.loads(done.stdout)
    assert (done.returncode, told["ok"]) == (7, False)
    assert any(one.startswith("test_case_matters") for one in told["failed"])
    assert told["passed"]


def test_a_store_that_is_not_empty_is_left_alone(bare_kit, tmp_path):
    full = tmp_path / "full.py"
    full.write_text(
        EXAMPLE.read_text().replace(
            "    store = Store()\n", "    store = Store()\n    store.set_secret('mine', 'x')\n"
        )
    )
    done = bare_kit(sys.executable, "-I", full)
    assert done.returncode == 7
    assert "must be empty" in done.stdout + done.stderr


def test_a_program_that_cannot_be_started_is_told_once(bare_kit, tmp_path):
    done = bare_kit(tmp_path / "none")
    told = [line for line in done.stdout.splitlines() if "there is no such program" in line]
    assert (done.returncode, len(told)) == (7, 1), done.stdout


def test_as_json_an_error_leaves_stdout_to_the_answer(bare_kit, tmp_path):
    full = tmp_path / "full.py"
    full.write_text(
        EXAMPLE.read_text().replace(
            "    store = Store()\n", "    store = Store()\n    store.set_secret('mine', 'x')\n"
        )
    )
    done = bare_kit(sys.executable, "-I", full, before=["--json"])
    assert json.loads(done.stdout) == {"ok": False, "passed": 0, "skipped": 0, "failed": []}
    assert done.returncode == 7
    assert "must be empty" in done.stderr


def test_without_a_program_it_says_how(bare_kit):
    done = bare_kit()
    assert done.returncode == 2
    assert "needs a program" in done.stderr
