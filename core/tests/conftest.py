"""What core's tests share: an environment of their own, and small real providers."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(autouse=True)
def own_environment(monkeypatch, tmp_path_factory):
    """No variable of the developer's own decides a test, and no test writes to a home."""
    for name in list(os.environ):
        if name.startswith("STRONGROOM_"):
            monkeypatch.delenv(name)
    if os.geteuid() != 0:  # as in the `conftest.py` of all tests
        monkeypatch.setenv("STRONGROOM_TRUST_SPEC", "1")
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)


class Plain:
    """A stranger's provider: just the four methods, over a dictionary."""

    def __init__(self, secrets=()):
        self.secrets = dict(secrets)

    def get_secret(self, key):
        return self.secrets[key]

    def set_secret(self, key, value):
        self.secrets[key] = value

    def delete_secret(self, key):
        del self.secrets[key]

    def list_secrets(self, prefix=""):
        return [key for key in self.secrets if key.startswith(prefix)]


class Failing:
    """A provider of which each operation raises the same error."""

    def __init__(self, error):
        self.error = error

    def get_secret(self, key):
        raise self.error

    def set_secret(self, key, value):
        raise self.error

    delete_secret = get_secret

    def list_secrets(self, prefix=""):
        raise self.error


@pytest.fixture
def plain():
    return Plain


@pytest.fixture
def failing():
    return Failing
