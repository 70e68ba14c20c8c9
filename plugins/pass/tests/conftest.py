from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

# pytest's importlib mode keeps test folders off the path; this helper has a name of its own.
sys.path.insert(0, str(Path(__file__).parents[3] / "tests"))

from gpg_key import gpg_key  # as above
from strongroom_pass import PassSecretProvider


@pytest.fixture(scope="session")
def gnupg():
    """A key of the test's own, in a folder whose name is short enough for the agent's socket."""
    with gpg_key() as key:
        yield key


@pytest.fixture
def store(tmp_path, gnupg, monkeypatch):
    home, fingerprint = gnupg
    monkeypatch.setenv("GNUPGHOME", home)
    path = tmp_path / "store"
    environment = {**os.environ, "PASSWORD_STORE_DIR": str(path)}
    subprocess.run(["pass", "init", fingerprint], env=environment, check=True, capture_output=True)
    return path


@pytest.fixture
def passes(store):
    """Run the real program."""

    def run(*words, given=""):
        environment = {**os.environ, "PASSWORD_STORE_DIR": str(store)}
        return subprocess.run(
            ["pass", *words], env=environment, input=given, check=True, capture_output=True, text=True
        ).stdout

    return run


@pytest.fixture
def make(store):
    def make(**options):
        return PassSecretProvider(Path(store), timeout=60, **options)

    return make
