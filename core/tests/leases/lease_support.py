"""What the tests of leases share: a clock that a test moves, and a server that issues leases."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta

from strongroom import Lease, SecretProviderRegistry
from strongroom.errors import SecretNotFoundError
from strongroom.leases import LeasingProvider, LiveLeases

START = datetime(2026, 1, 1, tzinfo=UTC)


class Clock:
    def __init__(self):
        self.seconds = 1000.0

    def __call__(self):
        return self.seconds

    def now(self):
        return START + timedelta(seconds=self.seconds)


class Server(LeasingProvider):
    """Issues leases of `ttl` seconds, renewed up to `most`; it can be down, forget, and refuse."""

    type_name = "server"

    def __init__(self, clock, ttl=12.0, most=48.0, renewable=True):
        self.clock, self.ttl, self.most, self.renewable = clock, ttl, most, renewable
        self.living = {}
        self.issued = 0
        self.renewals = 0
        self.error = None
        self.refusing = None

    def _answer(self):
        if self.error is not None:
            raise self.error

    def issue_lease(self, key):
        self._answer()
        if self.refusing is not None:
            raise self.refusing
        if key == "none":
            raise self.not_found(key)
        self.issued += 1
        now = self.clock()
        lease_id = f"{key}/{self.issued}"
        self.living[lease_id] = (now + self.ttl, now + self.most)
        values = {"username": f"u{self.issued}", "password": f"s3cret-{self.issued}"}
        start = self.clock.now()
        return Lease(lease_id, key, values, start, start + timedelta(seconds=self.ttl), self.renewable)

    def renew_lease(self, lease):
        self._answer()
        ends, most = self.living.get(lease.id, (0, 0))
        now = self.clock()
        if ends <= now:
            raise SecretNotFoundError(lease.key)
        self.renewals += 1
        ends = min(now + self.ttl, most)
        self.living[lease.id] = (ends, most)
        left = timedelta(seconds=ends - now)
        return Lease(lease.id, lease.key, lease.values, lease.issued_at, self.clock.now() + left, True)

    def revoke_lease(self, lease):
        self._answer()
        self.living.pop(lease.id, None)

    def good(self, username):
        number = username[1:]
        return any(name.endswith(f"/{number}") and end[0] > self.clock() for name, end in self.living.items())

    def alive(self):
        return sorted(name for name, (ends, _) in self.living.items() if ends > self.clock())


class Driven:
    """Leases whose thread is the test."""

    def __init__(self, **options):
        self.clock = Clock()
        self.server = Server(self.clock, **options)
        self.leases = LiveLeases(
            self.server, clock=self.clock, now=self.clock.now, uniform=lambda least, _: least
        )
        self.leases._run = lambda: None

    def work(self):
        self.leases.start_due(lambda call: call())

    def pass_seconds(self, seconds, step=0.25):
        end = self.clock.seconds + seconds
        while self.clock.seconds < end:
            self.clock.seconds += step
            self.work()

    def user(self, key="app"):
        return json.loads(self.leases.text(key))["username"]


class Wall:
    """The real time, for registries whose leases are not driven."""

    def __call__(self):
        return time.monotonic()

    def now(self):
        return datetime.now(UTC)


def registry_over(server, *middleware):
    made = SecretProviderRegistry(
        {"version": 1, "pipelines": {"own": {"provider": {"type": "memory"}, "middleware": list(middleware)}}}
    )
    made.register("app", server, prefix="")
    return made
