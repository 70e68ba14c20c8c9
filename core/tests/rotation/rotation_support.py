"""Backends of less than every ability, a target system, and death at a chosen moment."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from strongroom import SecretRotation
from strongroom.cache import MemoryCacheStore
from strongroom.keys import record_key
from strongroom.providers import CAPABILITIES, BaseProvider, Closeable, LeaseProvider
from strongroom_memory import MemorySecretProvider

KEY = "database/password"
OLD = "old-value-of-the-secret"
NEW = "new-value-of-the-secret"
FOUR = ("get_secret", "set_secret", "delete_secret", "list_secrets")
ABILITIES = {
    names[0]: names
    for protocol, names in CAPABILITIES.items()
    if protocol not in {Closeable, LeaseProvider}  # what is issued is not stored
}
BACKENDS = {
    "everything": tuple(ABILITIES),
    "no staging": ("get_secrets", "describe_secret", "list_versions", "set_secret_if"),
    "no conditions": ("get_secrets", "describe_secret", "list_versions"),
    "no versions": ("describe_secret", "set_secret_if"),
    "nothing": (),
}
"""By what they lack; each is like some of the shipped ones."""
NAMED = [pytest.param(names, id=name) for name, names in BACKENDS.items()]
"""The same for `parametrize`."""


class Clock:
    """An aware time that a test moves."""

    def __init__(self):
        self.now = datetime.now(UTC)

    def __call__(self):
        return self.now

    def pass_by(self, **span):
        self.now += timedelta(**span)


class Killed(BaseException):
    """Ends a process, as far as one test process can show it."""


class Mortal:
    """Counts the requests to a backend, and dies at one of them."""

    def __init__(self):
        self.count = 0
        self.at = None
        self.after = False

    def die_at(self, number, *, after=False):
        self.count, self.at, self.after = 0, number, after

    def live_on(self):
        self.at = None

    def call(self, method, *args, **kwargs):
        self.count += 1
        dies = self.at is not None and self.count >= self.at
        if dies and not self.after:
            raise Killed
        result = method(*args, **kwargs)
        if dies:
            raise Killed
        return result


def backend(memory, abilities=tuple(ABILITIES), mortal=None):
    """Return a provider over `memory` with the four methods and no more abilities than these."""
    mortal = mortal or Mortal()
    names = [*FOUR, *(name for ability in abilities for name in ABILITIES[ability])]

    def passed_on(name):
        return lambda _self, *args, **kwargs: mortal.call(getattr(memory, name), *args, **kwargs)

    return type("Limited", (BaseProvider,), {name: passed_on(name) for name in names})()


class Target:
    """The system whose password it is."""

    def __init__(self, password=OLD):
        self.password = password
        self.calls = []

    def apply(self, key, old, new):
        self.calls.append((key, old, new))
        self.password = new

    def verify(self, key, new):
        return self.password == new


def memory_with(value=OLD, key=KEY, **options):
    return MemorySecretProvider(secrets={key: value}, **options)


def leftovers(memory, key=KEY):
    """Return what a rotation has left behind: pending versions, and its record."""
    pending = [one.version for one in memory.list_versions(key) if one.state == "pending"]
    records = [one for one in (record_key(key),) if memory.get_secrets([one])]
    return pending + records


def states(memory, key=KEY):
    return [one.state for one in memory.list_versions(key)]


def rotation_of(provider, target=None, **options):
    target = target or Target()
    return SecretRotation(
        provider, apply=target.apply, verify=target.verify, lock=MemoryCacheStore(), **options
    )


def failing(*_):
    raise ConnectionError("the database is down")
