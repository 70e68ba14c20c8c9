"""What the tests of watches share: sources that push or are polled, and what a callback heard."""

from __future__ import annotations

import threading

from strongroom import SecretProviderRegistry
from strongroom.errors import SecretNotFoundError
from strongroom.providers import BaseProvider, SecretMetadata

PATIENCE = 120.0


class Heard:
    """What a callback was called with, and a way to wait for more."""

    def __init__(self, then=None):
        self.batches = []
        self.then = then
        self._more = threading.Condition()

    def __call__(self, changes):
        if self.then is not None:
            self.then(changes)
        with self._more:
            self.batches.append([(one.key, one.kind, one.version) for one in changes])
            self._more.notify_all()

    def wait(self, count):
        with self._more:
            assert self._more.wait_for(lambda: len(self.batches) >= count, PATIENCE), self.batches
        return self.batches


class Polled(BaseProvider):
    """A backend that tells of nothing; it counts what it is asked."""

    def __init__(self):
        self.kept = {}
        self.asked = []
        self.error = None

    def _asked(self, what):
        self.asked.append(what)
        if self.error is not None and (not isinstance(self.error, tuple) or self.error[0] == what):
            raise self.error if not isinstance(self.error, tuple) else self.error[1]

    def get_secret(self, key):
        self._asked(key)
        if key not in self.kept:
            raise SecretNotFoundError(key)
        return self.kept[key]

    def set_secret(self, key, value):
        self.kept[key] = value

    def delete_secret(self, key):
        if self.kept.pop(key, None) is None:
            raise SecretNotFoundError(key)

    def list_secrets(self, prefix=""):
        self._asked(("list", prefix))
        return sorted(key for key in self.kept if key.startswith(prefix))


class Versioned(Polled):
    """The same with versions, which are the values."""

    def describe_secret(self, key):
        return SecretMetadata(key, self.get_secret(key))


def over(provider, *middleware):
    made = SecretProviderRegistry(
        {"version": 1, "pipelines": {"own": {"provider": {"type": "memory"}, "middleware": list(middleware)}}}
    )
    made.register("app", provider, prefix="")
    return made
