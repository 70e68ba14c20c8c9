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
