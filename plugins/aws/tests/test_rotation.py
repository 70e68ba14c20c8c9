"""Rotation by staging labels: processes that die at every step of it, and several that begin at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from strongroom import SecretRotation
from strongroom.errors import RotationError

WORKER = Path(__file__).parent / "_rotator.py"
KEY = "database/password"


def rotate(work, folder, times, address):
    done = subprocess.run(
        [sys.executable, WORKER, work, folder, str(times), address],
        check=False,
        capture_output=True,
        text=True,
        timeout=3000,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize("times", [1, pytest.param(25, marks=pytest.mark.torture)])
def test_a_process_that_is_killed_at_any_step_leaves_nothing_behind(tmp_path, moto, times):
    """Once at every fifth step, or 25 times at each of them."""
    (killed,) = rotate("die", tmp_path, times, moto)
    assert int(killed) >= (4 if times == 1 else 20 * times)


@pytest.mark.parametrize("processes", [4, pytest.param(8, marks=pytest.mark.torture)])
def test_many_processes_make_one_rotation(tmp_path, moto, processes):
    assert rotate("meet", tmp_path, processes, moto) == ["ConflictError"] * (processes - 1) + ["current"]


def test_the_labels_are_those_of_awss_own_protocol(make, bare):
    provider = make()
    provider.set_secret(KEY, "first")
    seen = []

    def stages(*_):
        labels_by_version = bare.describe_secret(SecretId=KEY)["VersionIdsToStages"]
        seen.append(sorted(tuple(sorted(labels)) for labels in labels_by_version.values() if labels))

    SecretRotation(provider, apply=stages, verify=stages).rotate(KEY, "second")
    stages()
    assert seen[:2] == [[("AWSCURRENT",), ("AWSPENDING",)]] * 2
    assert seen[2] == [("AWSCURRENT",), ("AWSPREVIOUS",)]


def test_a_rotation_that_awss_own_lambda_left_half_way_can_be_rolled_back(make, bare):
    provider = make()
    provider.set_secret(KEY, "first")
    bare.put_secret_value(
        SecretId=KEY, SecretString="second", VersionStages=["AWSPENDING"], ClientRequestToken="t" * 32
    )
    rotation = SecretRotation(provider)
    assert [one.state for one in rotation.status()] == ["pending"]
    assert rotation.rollback(KEY).state == "rolled_back"
    assert provider.get_secret(KEY) == "first"
    with pytest.raises(RotationError):
        rotation.resume(KEY)
    assert rotation.rotate(KEY, "third").state == "current"
