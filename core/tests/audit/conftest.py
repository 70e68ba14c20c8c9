"""Registries whose operations are recorded, and logs to look at."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from strongroom import SecretProviderRegistry
from strongroom.audit import AuditLoggingHook, verify_audit_log

SPEC = {"version": 1, "pipelines": {"app": {"provider": {"type": "memory"}}}}


class Trail:
    """A registry with an audit hook, and the log that it writes."""

    def __init__(self, folder, **options):
        self.path = Path(options.pop("path", folder / "audit.jsonl"))
        self.hook = AuditLoggingHook(path=self.path, **options)
        self.registry = SecretProviderRegistry(SPEC)
        self.registry.set_secret("database/password", "value")
        self.registry.add_hook(self.hook)

    @property
    def head(self):
        return self.path.with_name(f"{self.path.name}.head")

    @property
    def key(self):
        return self.path.with_name(f"{self.path.name}.key")

    def read(self, times=1):
        for _ in range(times):
            self.registry.get_secret("database/password")

    def lines(self):
        return self.path.read_bytes().splitlines(keepends=True)

    def entries(self):
        return [json.loads(line) for line in self.lines()]

    def verify(self, **options):
        return verify_audit_log(self.path, **options)


@pytest.fixture
def make_trail(tmp_path):
    """Return what makes a `Trail` in the test's folder; all are closed at the end."""
    made = []

    def make(**options):
        made.append(Trail(tmp_path, **options))
        return made[-1]

    yield make
    for trail in made:
        trail.hook.close()
        trail.registry.close()


@pytest.fixture
def trail(make_trail):
    return make_trail()
