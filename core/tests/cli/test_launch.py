"""A program is started as a shell starts it, and what it gets is what was given."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys

import pytest
from strongroom.cli.child.launch import start

AROUND = """
import errno, json, os, sys
from strongroom.cli.child.launch import start
before = sorted(os.listdir("/proc/self/fd"))
found = []
try:
    pid = start(**json.loads(sys.argv[1]), environment=dict(os.environ))
    found.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
except OSError as error:
    found.append(errno.errorcode[error.errno])
found.append(sorted(os.listdir("/proc/self/fd")) == before)
try:
    os.waitpid(-1, os.WNOHANG)
    found.append("a process is left")
except ChildProcessError:
    pass
os.write(1, json.dumps(found).encode())
"""


def around(path=None, **given):
    """Return what came of a start in a process of its own, whether no descriptor was left, and its output."""
    variables = os.environ if path is None else os.environ | {"PATH": path}
    given = {"streams": {}, "group": None} | given
    done = subprocess.run(
        [sys.executable, "-c", AROUND, json.dumps(given)],
        env=variables, capture_output=True, text=True, check=True,
    )  # fmt: skip
    head, _, tail = done.stdout.rpartition("[")
    return json.loads(f"[{tail}"), head, done.stderr


def test_its_streams_are_the_given_ones_whatever_their_numbers():
    swapped = {"stdout": 2, "stderr": 1, "stdin": None}
    code = "import os; os.write(1, b'one'); os.write(2, b'two')"
    assert around(command=[sys.executable, "-c", code], streams=swapped) == ([0, True], "two", "one")


def test_it_gets_no_descriptor_that_was_made_to_start_it():
    open_ones = "import os; print(sorted(map(int, os.listdir('/proc/self/fd')))[:-1])"
    assert around(command=[sys.executable, "-c", open_ones], streams={"stdout": 1})[1] == "[0, 1, 2]\n"


def test_the_first_program_on_the_path_that_can_be_started_is(tmp_path):
    for number, mode in enumerate((0o644, 0o755, 0o755)):
        folder = tmp_path / str(number)
        folder.mkdir()
        program = folder / "tool"
        program.write_text(f"#!/bin/sh\nexit {number}\n")
        program.chmod(mode)
    paths = [tmp_path / "none", *(tmp_path / str(number) for number in range(3))]
    assert around(command=["tool"], path=":".join(map(str, paths)))[0] == [1, True]
    assert around(command=["tool"], path=":".join(map(str, paths[:2])))[0] == ["EACCES", True]
    assert around(command=["tool"], path=str(paths[0]))[0] == ["ENOENT", True]


def test_a_script_without_an_interpreter_is_one_of_the_shell(tmp_path):
    script = tmp_path / "script"
    script.write_text('exit "$1"\n')
    script.chmod(0o755)
    assert around(command=[str(script), "7"])[0] == [7, True]


@pytest.mark.parametrize(
    ("failure", "number"), [(OSError(errno.EPERM, ""), errno.EPERM), (KeyError(), errno.EINVAL)]
)
def test_what_cannot_be_prepared_is_not_started(failure, number):
    def fail():
        raise failure

    with pytest.raises(OSError, match=r".") as caught:
        start(["true"], os.environ, streams={}, group=0, prepare=fail)
    assert caught.value.errno == number
