"""Rotation in the store: processes that die at every step of it, and eight that begin at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

WORKER = Path(__file__).parent / "_rotator.py"


def rotate(work, folder, times):
    done = subprocess.run(
        [sys.executable, WORKER, work, folder, str(times)],
        check=False,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize("times", [1, pytest.param(25, marks=pytest.mark.torture)])
def test_a_process_that_is_killed_at_any_step_leaves_nothing_behind(tmp_path, times):
    (killed,) = rotate("die", tmp_path, times)
    assert int(killed) >= 20 * times


@pytest.mark.parametrize("rounds", [1, pytest.param(25, marks=pytest.mark.torture)])
def test_eight_processes_make_one_rotation(tmp_path, rounds):
    for number in range(rounds):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert rotate("meet", folder, 8) == ["ConflictError"] * 7 + ["current"]
