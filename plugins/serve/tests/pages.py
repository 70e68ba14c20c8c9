"""A spec with pages, and what they show, for the tests of their text and those in a browser."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from served import WEB, spec_of
from strongroom.cli.actions.overview import Overview
from strongroom.cli.context import GlobalOptions

BOSS = "boss-token-0123456789"
VALUE = "value-that-no-page-shows"


def spec_with_pages(**more):
    spec = spec_of(
        {"name": "boss", "token": BOSS, "allow": [], "admin": True},
        {"name": "web", "token": WEB, "allow": ["**"]},
        middleware=[{"type": "caching", "ttl_seconds": 300}],
        ui=True,
    )
    spec["secrets"] = {
        "DATABASE_PASSWORD": {"key": "db/password", "rotate_days": 30},
        "API_KEY": {"key": "<script>alert(1)</script>"},
    }
    return spec | more


class Fixed(Overview):
    """The real one, with an audit trail, a lease and a rotation that failed."""

    def __init__(self):
        super().__init__(GlobalOptions())

    def rotations(self, registry):
        now = datetime.now(UTC)
        return [
            {"key": "a/fine", "state": "current", "due_at": now + timedelta(1), "last_error": None},
            {"key": "b/failed", "state": "applied", "due_at": None, "last_error": "verify failed"},
            {"key": "c/late", "state": "current", "due_at": now - timedelta(1), "last_error": None},
        ]

    def leases(self, registry):
        return [{"pipeline": "app", "key": "db", "expires_at": datetime.now(UTC), "renewable": True}]

    def audit(self):
        entry = {
            "started_at": "2026-01-01", "actor": "<b>", "operation": "get", "key": "k", "tenant": None, "outcome": "denied"
        }  # fmt: skip
        return [{"path": "audit.jsonl", "ok": False, "finding": "line 3 was changed", "entries": [entry]}]


LONG = "/".join(["app", *["a-segment-that-goes-on-and-on"] * 16])


def crowded_spec():
    """A spec with more and longer names than fit, and a backend that does not answer."""
    spec = spec_with_pages()
    away = {"provider": {"type": "vault", "url": "http://127.0.0.1:9", "token": "t" * 16}}
    spec["pipelines"] |= {f"pipeline-{n}-{'x' * 40}": {"provider": {"type": "memory"}} for n in range(12)}
    spec["pipelines"]["away"] = away
    spec["default"] = "app"
    spec["secrets"] |= {f"SECRET_{n}_{'Y' * 50}": {"key": f"{n}/{LONG}"} for n in range(6)}
    return spec


class Crowded(Fixed):
    """What such a spec may come to: several trails, of which one is empty, and long keys everywhere."""

    def rotations(self, registry):
        failed = {
            "key": LONG,
            "state": "applied",
            "due_at": None,
            "last_error": "verify failed: " + "x" * 200,
        }
        return [*super().rotations(registry), failed]

    def leases(self, registry):
        return [{"pipeline": "p" * 60, "key": LONG, "expires_at": datetime.now(UTC), "renewable": True}]

    def audit(self):
        (broken,) = super().audit()
        entry = broken["entries"][0] | {"key": LONG, "tenant": "t" * 64}
        empty = {"path": "empty.jsonl", "ok": True, "finding": "0 entries, unchanged", "entries": []}
        return [broken, broken | {"path": f"/{LONG}.jsonl", "entries": [entry] * 3}, empty]
