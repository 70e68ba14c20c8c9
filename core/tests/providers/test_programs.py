"""Programs that providers run."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import threading

import pytest
from strongroom.deadlines import Deadline, DeadlineExceededError
from strongroom.errors import ConfigurationError
from strongroom.providers.programs import end_program, environment_for_programs, run_program, start_program
from strongroom.testing.conformance.forks import Children


def python(code):
    return [sys.executable, "-I", "-S", "-c", code]


def test_what_a_program_says_and_how_it_ends():
    code = "import sys; sys.stdout.write(sys.stdin.read() * 2); sys.stderr.write('e'); sys.exit(3)"
    ended = run_program(python(code), Deadline(60), provider="t", given=b"value" * 50_000)
    assert (ended.code, ended.out, ended.err) == (3, b"value" * 100_000, b"e")
    assert "value" not in repr(ended)


def test_a_program_that_does_not_read_what_it_is_given():
    assert run_program(python("pass"), Deadline(60), provider="t", given=b"x" * 10**6).code == 0


def test_a_program_that_hangs_is_killed_with_its_children(tmp_path):
    """Its group is: what it started would keep the pipes open."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    code = f"import os, time; held = os.open({str(pipe)!r}, os.O_WRONLY); os.fork(); os.write(held, b'x'); time.sleep(600)"
    with pytest.raises(DeadlineExceededError):
        run_program(python(code), Deadline(1), provider="t")
    assert select.select([reading], [], [], 60)[0]
    while os.read(reading, 1):  # an error, where anybody still has it open
        assert select.select([reading], [], [], 60)[0]
    os.close(reading)


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["no-such-program"], "no such program"),
        (["/"], "ermission"),
        (["a\0b"], "NUL"),
        (["true", "\0"], "NUL"),
    ],
)
def test_a_program_that_cannot_be_started(command, expected):
    with pytest.raises(ConfigurationError, match=expected):
        run_program(command, Deadline(5), provider="t")


IGNORING = """
import signal, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
from strongroom.deadlines import Deadline
from strongroom.errors import StrongroomError
from strongroom.providers.programs import run_program
from strongroom.rotation import CommandRotator
for call in (
    lambda: run_program(["false"], Deadline(60), provider="t"),
    lambda: CommandRotator(["false"]).verify("key", "new-value"),
):
    try:
        print(call())
    except StrongroomError as error:
        print(type(error).__name__, error.message)
"""


def test_no_program_is_started_whose_exit_code_the_system_drops():
    """Where SIGCHLD is ignored, `subprocess` reports 0 for each: a failure would be an empty answer."""
    done = subprocess.run([sys.executable, "-c", IGNORING], check=True, capture_output=True, text=True)
    first, second = done.stdout.splitlines()
    assert first.startswith("ConfigurationError")
    assert second.startswith("RotationError")
    assert first.endswith("with SIGCHLD ignored nobody can know how it ends")


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(ConfigurationError, match="its folder is not there") as caught:
        run_program(["true"], Deadline(5), provider="t", folder=str(tmp_path / "nowhere"))
    assert "folder" in caught.value.hint


def test_a_program_that_may_not_be_run(tmp_path):
    (tmp_path / "store").write_text("")
    with pytest.raises(ConfigurationError, match="ermission") as caught:
        run_program([str(tmp_path / "store")], Deadline(5), provider="t")
    assert "chmod +x" in caught.value.hint


def test_strongrooms_own_keys_are_not_handed_on(monkeypatch):
    monkeypatch.setenv("STRONGROOM_ENCRYPTION_KEY", "k")
    monkeypatch.setenv("OTHER", "o")
    found = environment_for_programs({"MORE": "m"})
    assert "STRONGROOM_ENCRYPTION_KEY" not in found
    assert (found["OTHER"], found["MORE"]) == ("o", "m")


def test_a_forked_child_does_not_keep_pipes_open():
    """Else the program would never come to the end of its input, nor its reader to that of its output."""
    program = start_program(python("import sys; print(len(sys.stdin.read()))"), provider="t")
    go = threading.Event()
    try:
        children = Children(1, lambda _: "here")
        program.stdin.write(b"12345")
        program.stdin.close()
        assert program.stdout.read() == b"5\n"
        go.set()
        assert children.results() == ["here"]
    finally:
        end_program(program)
