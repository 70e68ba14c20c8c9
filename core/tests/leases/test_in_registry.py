"""Leases of a registry: its pipelines, hooks, caches, watches and tenants."""

from __future__ import annotations

import dataclasses
import json
import os
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from lease_support import Clock, Server, Wall, registry_over
from strongroom import SecretRotation, TenantContext
from strongroom.errors import AuditError, SecretNotFoundError, UnsupportedOperationError
from strongroom.hooks import SecretHook
from strongroom.leases import LeaseLedger
from strongroom.middleware.leases import LeaseMiddleware
from strongroom_memory import MemorySecretProvider


def test_a_registry_gives_one_lease_to_reads_and_handles(state):
    """JSON, fields, handles; revoked as it is closed, and noted down in between."""
    server = Server(Wall(), ttl=3600.0, most=7200.0)
    with registry_over(server) as registry:
        handle = registry.lease("app")
        assert handle.values == {"username": "u1", "password": "s3cret-1"}
        assert json.loads(registry.get_secret("app")) == dict(handle.values)
        assert registry.get_field("app", "username") == "u1"
        assert registry.get_secrets(["app", "none"]).keys() == {"app"}
        assert handle.expires_at > datetime.now(UTC) + timedelta(minutes=50)
        with registry.lease("app") as second:
            assert second.values == handle.values
        assert handle.values["username"] == "u1"
        assert "s3cret" not in f"{handle!r}{handle.lease!r}{registry!r}{handle.values!r}{handle.values}"
        assert repr(handle.values) == "<values: username, password>"
        assert handle.values | {"host": "h"} == {"host": "h"} | handle.values
        assert {"username": "other", **handle.values}["username"] == (handle.values | {})["username"] == "u1"
        with pytest.raises(UnsupportedOperationError):
            registry.set_secret("app", "x")
        with pytest.raises(UnsupportedOperationError):
            registry.delete_secret("app")
        with pytest.raises(SecretNotFoundError):
            registry.lease("none")
        [file] = LeaseLedger().files()
        [entry] = file.entries()
        assert (entry.id, entry.key, entry.pipeline, entry.pid, file.alive()) == (
            "app/1", "app", "app", os.getpid(), True,
        )  # fmt: skip
        assert file.path.stat().st_mode & 0o777 == 0o600
        assert b"app/1" not in file.path.read_bytes()
        assert server.issued == 1
    assert server.alive() == []
    assert LeaseLedger().files() == []


@pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="only Linux counts the time of a sleep")
def test_a_lease_that_ended_while_the_machine_slept_is_not_given(state, monkeypatch):
    """`time.monotonic` is still then, and the server's time is not."""
    slept = [0.0]
    real = time.clock_gettime
    monkeypatch.setattr(time, "clock_gettime", lambda clock: real(clock) + slept[0])
    with registry_over(Server(Wall(), ttl=3600.0, most=7200.0)) as registry:
        assert registry.get_field("app", "username") == "u1"
        slept[0] = 4000.0
        assert registry.get_field("app", "username") == "u2"


def test_a_lease_is_not_rotated(state):
    """No lease is issued to find that out, and what stands beside it is rotated."""
    server = Server(Wall())
    with registry_over(server) as registry:
        registry.register("plain", MemorySecretProvider(), prefix="plain/")
        registry.set_secret("plain/a", "1")
        rotation = SecretRotation(registry, rotation_interval_days=0)
        server.list_secrets = lambda _prefix="": ["app"]
        for work in (
            rotation.rotate,
            rotation.resume,
            rotation.rollback,
            rotation.status_of,
            rotation.forget,
        ):
            with pytest.raises(UnsupportedOperationError, match="is a lease"):
                work("app")
        with pytest.raises(UnsupportedOperationError):
            rotation.needs_rotation("app")
        assert [one.key for one in rotation.rotate_due()] == ["plain/a"]
        assert [one.key for one in rotation.status()] == ["plain/a"]
    assert server.issued == 0


def test_what_another_member_of_a_fallback_answers_is_no_lease(state):
    """A read gives it; a handle would have nothing to follow."""
    from strongroom.pipeline.fallback import FallbackProvider

    static = MemorySecretProvider()
    static.set_secret("none", "static")
    both = FallbackProvider(LeaseMiddleware(Server(Wall())), others=[static], when=frozenset({"not_found"}))
    with registry_over(both) as registry:
        assert registry.get_secret("none") == "static"
        with pytest.raises(SecretNotFoundError):
            registry.lease("none")
        assert registry.lease("app").values["username"] == "u1"


def test_other_pipelines_issue_no_leases(state):
    """The error says which do."""
    with registry_over(Server(Wall())) as registry:
        registry.register("plain", MemorySecretProvider(), prefix="plain/")
        with pytest.raises(UnsupportedOperationError, match="issues no lease"):
            registry.lease("plain/a")


def test_hooks_see_what_becomes_of_leases_and_may_refuse_them(state):
    """Under the caller's name; the values are made known to what masks."""
    seen, values = [], []

    class Recorder(SecretHook):
        def before(self, event):
            if (event.operation, event.key) == ("issue", "refused"):
                raise PermissionError

        def after(self, event):
            seen.append((event.operation, event.key, event.pipeline, event.outcome))

    registry = registry_over(Server(Wall(), ttl=3600.0))
    registry.add_hook(Recorder())
    registry.observe_values(values.append)
    registry.get_secret("app")
    with pytest.raises(PermissionError):
        registry.get_secret("refused")
    registry.close()
    assert seen == [
        ("issue", "app", "app", "ok"), ("get", "app", "app", "ok"), ("issue", "refused", "app", "vetoed"),
        ("get", "refused", "app", "error"), ("revoke", "app", "app", "ok"),
    ]  # fmt: skip
    assert {"u1", "s3cret-1"} <= set(values)


def test_what_a_hook_refuses_after_it_was_issued_is_revoked(state):
    """As where an audit trail cannot be written; nobody would know of it."""

    class Full(SecretHook):
        def after(self, event):
            if event.operation == "issue":
                raise AuditError("no space left")

    server = Server(Wall(), ttl=3600.0)
    with registry_over(server) as registry:
        registry.add_hook(Full())
        with pytest.raises(AuditError, match="no space"):
            registry.get_secret("app")
        assert server.issued == 1
        assert server.alive() == []
        assert LeaseLedger().files() == []


def test_a_forked_child_has_leases_of_its_own(state):
    """It never renews or revokes its parent's, whose ledger it leaves alone."""
    server = Server(Wall(), ttl=3600.0)
    registry = registry_over(server)
    handle = registry.lease("app")
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            mine = handle.values["username"]
            count = [len(file.entries()) for file in LeaseLedger().files() if file.alive()]
            registry.close()
            os.write(writing, f"{mine} {server.alive()} {count}".encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        assert pipe.read() == "u2 ['app/1'] [1, 1]"
    os.waitpid(pid, 0)
    assert handle.values["username"] == "u1"
    registry.close()
    assert server.alive() == []


def test_each_tenant_has_leases_of_its_own_where_tenants_are_heeded(state):
    """And else one for all. The overview says whose each is."""
    from strongroom import TenantMiddleware
    from strongroom.cli.actions.overview import Overview
    from strongroom.cli.context import GlobalOptions

    server = Server(Wall(), ttl=3600.0)
    registry = registry_over(TenantMiddleware(server))
    users = {}
    for tenant in ("a", "b", "a"):
        with TenantContext(tenant):
            users.setdefault(tenant, set()).add(registry.get_field("app", "username"))
    assert users == {"a": {"u1"}, "b": {"u2"}}
    assert server.alive() == ["tenants/a/app/1", "tenants/b/app/2"]
    shown = Overview(GlobalOptions()).leases(registry)
    assert [(one["tenant"], one["key"]) for one in shown] == [("a", "app"), ("b", "app")]
    registry.close()
    assert server.alive() == []
    with registry_over(server) as plain:
        with TenantContext("a"):
            mine = plain.get_secret("app")
        assert plain.get_secret("app") == mine


def test_hooks_see_that_a_lease_is_refused_before_it_is_looked_for(state):
    """Without a tenant, and with what is not a key."""
    from strongroom import SecretHook, TenantMiddleware
    from strongroom.errors import InvalidKeyError, TenantContextError

    seen = []

    class Recorder(SecretHook):
        def after(self, event):
            if event.operation == "get":
                seen.append((event.key, event.outcome, event.error_type))

    registry = registry_over(TenantMiddleware(Server(Wall(), ttl=3600.0)))
    registry.add_hook(Recorder())
    for key, error in (("app", TenantContextError), ("a//b", InvalidKeyError)):
        with pytest.raises(error):
            registry.lease(key)
    assert seen == [("app", "denied", "TenantContextError"), ("a//b", "error", "InvalidKeyError")]
    registry.close()


def test_a_cache_keeps_nothing_of_a_lease(state):
    """Reads pass through it, also in a fallback."""
    from strongroom import CachingMiddleware
    from strongroom.pipeline.fallback import FallbackProvider
    from strongroom_memory import MemorySecretProvider

    server = Server(Wall(), ttl=3600.0)
    cache = CachingMiddleware(server)
    assert json.loads(cache.get_secret("app"))["username"] == "u1"
    assert cache.get_secrets(["app"]).keys() == {"app"}
    assert cache.stats().entries == 0
    both = CachingMiddleware(
        FallbackProvider(MemorySecretProvider(), others=[server], when=frozenset({"not_found"}))
    )
    assert json.loads(both.get_secret("app"))["username"] == "u1"
    assert both.stats().entries == 0
    server.close()
    assert server.alive() == []


def test_a_watch_on_a_lease_tells_of_the_next_one(state):
    """With the lease's id as the version."""
    clock = Clock()
    server = Server(clock, ttl=12.0, most=12.0)
    registry = registry_over(server)
    leases = registry.pipeline("app").inner.leases
    leases._clock, leases._run = clock, lambda: None
    leases._times = dataclasses.replace(leases._times, clock=clock, now=clock.now)
    heard, more = [], threading.Event()

    def hear(changes):
        heard.extend(
            (one.key, one.kind, one.version, registry.get_field("app", "username")) for one in changes
        )
        more.set()

    with registry.watch("app", hear):
        clock.seconds += 9
        leases.start_due(lambda call: call())
        clock.seconds += 3
        leases.start_due(lambda call: call())
        assert more.wait(300)
    assert heard == [("app", "set", "app/2", "u2")]
    registry.close()


@pytest.mark.parametrize("with_fallback", [False, True])
def test_a_watch_on_all_keys_has_no_lease_issued(state, with_fallback):
    """It would be kept alive with nobody who uses it. Those that the process holds are watched."""
    from strongroom.pipeline.fallback import FallbackProvider
    from strongroom.registry.watched import group_of

    server = Server(Wall(), ttl=3600.0)
    server.list_secrets = lambda prefix="": ["app", "other"]
    issuing = LeaseMiddleware(server)
    static = MemorySecretProvider()
    static.set_secret("none", "here alone")
    chain = FallbackProvider(issuing, others=[static], when=frozenset({"not_found"}))
    with registry_over(chain if with_fallback else server) as registry:
        with registry.watch("/", lambda _: None):
            assert server.issued == 0
        registry.get_secret("app")
        group = group_of(registry.pipeline("app"), lambda _: True)
        assert "app" in group.chain.list_secrets()
        assert "other" not in group.chain.list_secrets()
        with registry.watch(["/", "other"], lambda _: None):
            assert server.issued == 2
        assert {"app", "other"} <= set(registry.list_secrets())
