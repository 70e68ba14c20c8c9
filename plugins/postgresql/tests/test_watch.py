"""A watch of PostgreSQL whose connection is cut again and again: what was missed is told, once and in order."""

from __future__ import annotations

import os
import threading
import time
from contextlib import closing

import psycopg
import pytest
from heard_versions import PATIENCE, Heard
from log_listener import listening
from postgres_server import PostgresServer
from strongroom import SecretProviderRegistry
from strongroom.errors import BackendUnavailableError, UnsupportedOperationError
from strongroom.testing.faults import FaultProxy
from strongroom_postgresql import PostgreSQLSecretProvider
from strongroom_postgresql.connection import Pool

KEY = os.urandom(32)
KEYS = [f"app/{number}" for number in range(4)]


def wait_until_heard(admin, schema):
    """Wait until a connection listens for changes of this schema."""
    deadline = time.monotonic() + PATIENCE
    statement = "SELECT count(*) FROM pg_stat_activity WHERE query = %s AND state = 'idle'"
    while not admin.execute(statement, [f'LISTEN "strongroom_{schema}"']).fetchone()[0]:
        assert time.monotonic() < deadline, "no connection listens"


def cut(admin, schema):
    """End the connections that listen for changes of this schema."""
    statement = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE query = %s"
    return admin.execute(statement, [f'LISTEN "strongroom_{schema}"']).fetchone()[0]


@pytest.mark.parametrize(("changes", "cuts"), [(120, 2), pytest.param(10_000, 20, marks=pytest.mark.torture)])
def test_the_last_version_of_every_burst_is_told_over_disconnections(server, schema, changes, cuts):
    key, heard = os.urandom(32), Heard(KEYS)
    url = f"postgresql://postgres:{server.password}@127.0.0.1:{{}}/postgres?sslmode=disable"
    spec = {"version": 1, "pipelines": {"none": {"provider": {"type": "memory"}}}}
    written = {name: [] for name in KEYS}
    with (
        FaultProxy(server.port) as proxy,
        PostgreSQLSecretProvider(url.format(proxy.port), schema=schema, encryption_key=key) as watched,
        PostgreSQLSecretProvider(url.format(server.port), schema=schema, encryption_key=key) as writer,
        psycopg.connect(url.format(server.port), autocommit=True) as admin,
        SecretProviderRegistry(spec) as registry,
    ):

        def write(count):
            for number in range(count):
                name = KEYS[number % len(KEYS)]
                before = written[name][-1] if written[name] else None
                written[name].append(writer.set_secret_if(name, f"value {number}", before))

        registry.register("app", watched, prefix="")
        write(len(KEYS))
        first = {name: versions[-1] for name, versions in written.items()}
        with registry.watch("app/", heard):
            burst = changes // cuts
            for _ in range(cuts):
                write(burst // 3)
                # The watch may have read the last burst before it listens again.
                wait_until_heard(admin, schema)
                proxy.mode = "refuse"  # so that it does not find its way back at once
                assert cut(admin, schema) >= 1
                write(burst // 3)
                proxy.mode = "pass"
                write(burst - 2 * (burst // 3))
                heard.wait_for({name: versions[-1] for name, versions in written.items()})
    heard.each_once_and_in_order(written, since=first)


def test_a_watch_whose_role_may_no_longer_log_in_says_so_once_and_again_when_it_may(server, schema):
    key, heard = os.urandom(32), Heard(KEYS)
    url = f"postgresql://{{}}@127.0.0.1:{server.port}/postgres?sslmode=disable"
    spec = {"version": 1, "pipelines": {"none": {"provider": {"type": "memory"}}}}
    own, role = url.format(f"postgres:{server.password}"), f"role_{schema}"
    with (
        PostgreSQLSecretProvider(own, schema=schema, encryption_key=key) as writer,
        psycopg.connect(own, autocommit=True) as admin,
        listening() as log,
        SecretProviderRegistry(spec) as registry,
    ):
        versions = {KEYS[0]: writer.set_secret_if(KEYS[0], "1", None)}
        admin.execute(f"CREATE ROLE {role} LOGIN SUPERUSER PASSWORD 'pw-of-the-role'")
        try:
            theirs = PostgreSQLSecretProvider(
                url.format(f"{role}:pw-of-the-role"), schema=schema, encryption_key=key
            )
            with theirs:
                registry.register("team", theirs, prefix="")
                with registry.watch("app/", heard):
                    admin.execute(f"ALTER ROLE {role} NOLOGIN")
                    admin.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", [role]
                    )
                    log.wait("notices of changes do not come", "AuthenticationError", f":{server.port}")
                    log.wait("pipeline team", "AuthenticationError", f":{server.port}")
                    versions[KEYS[0]] = writer.set_secret_if(KEYS[0], "2", versions[KEYS[0]])
                    admin.execute(f"ALTER ROLE {role} LOGIN")
                    log.wait("notices of changes come again")
                    log.wait("pipeline team can be asked for changes again")
                    heard.wait_for(versions)
        finally:
            admin.execute(f"DROP ROLE {role}")
    assert sum("do not come" in one for one in log.messages) == 1
    assert "pw-of-the-role" not in str(log.messages)


def test_a_subscription_ends_while_a_change_comes(server, schema, monkeypatch):
    """The notice may end its thread before `close` has woken it: nothing is written to a pipe that is gone."""
    key, written = os.urandom(32), []
    with (
        PostgreSQLSecretProvider(server.url(), schema=schema, encryption_key=key) as watched,
        PostgreSQLSecretProvider(server.url(), schema=schema, encryption_key=key) as other,
    ):
        other.set_secret("k", "1")
        heard = threading.Event()
        subscription = watched.subscribe_changes(lambda _: heard.set())
        listener = watched._backend._listeners[-1]
        write = os.write

        def late(descriptor, data):
            if descriptor == listener._wake:
                other.set_secret("k", "2")
                listener._thread.join(1)  # as long as it may take to end, where nothing keeps it from that
                os.fstat(descriptor)
                written.append(data)
            return write(descriptor, data)

        monkeypatch.setattr(os, "write", late)
        subscription.close()
        assert written == [b"x"]
        assert not listener._thread.is_alive()


def test_a_replica_is_watched_by_looking_at_it(server):
    """It takes no LISTEN, and forwards no notification of its primary."""
    heard = Heard(["app/key"])
    primary = PostgresServer("max_wal_senders=4")
    replica = primary.replica("hot_standby=on")
    spec = {"version": 1, "pipelines": {"none": {"provider": {"type": "memory"}}}}
    try:
        with (
            PostgreSQLSecretProvider(f"{primary.url()}?sslmode=disable", encryption_key=KEY) as writer,
            PostgreSQLSecretProvider(f"{replica.url()}?sslmode=disable", encryption_key=KEY) as reader,
            SecretProviderRegistry(spec) as registry,
        ):
            first = writer.set_secret_if("app/key", "1", None)
            deadline = time.monotonic() + PATIENCE
            while reader.list_secrets() != ["app/key"]:
                assert time.monotonic() < deadline, "the replica does not follow"
            with pytest.raises(UnsupportedOperationError, match="a replica does not report changes"):
                reader.subscribe_changes(print)
            registry.register("app", reader, prefix="")
            with registry.watch("app/key", heard, poll_seconds=0.05):
                heard.wait_for({"app/key": writer.set_secret_if("app/key", "2", first)})
    finally:
        replica.stop()
        primary.stop()


def test_a_connection_that_is_lost_at_a_subscription_is_an_outage(server, schema):
    url = f"postgresql://postgres:{server.password}@127.0.0.1:{{}}/postgres?sslmode=disable"
    with (
        FaultProxy(server.port) as proxy,
        PostgreSQLSecretProvider(url.format(proxy.port), schema=schema, encryption_key=KEY) as provider,
    ):
        provider.set_secret("key", "1")
        pool = provider._backend._pool
        open_one = pool.open

        def opened(deadline):
            connection = open_one(deadline)
            proxy.cut_after = 0
            return connection

        pool.open = opened
        with pytest.raises(BackendUnavailableError, match=r"subscribe: the connection to .* was lost"):
            provider.subscribe_changes(print)


def test_a_subscription_that_gets_no_thread_leaves_nothing_behind(server, schema, monkeypatch):
    url = f"postgresql://postgres:{server.password}@127.0.0.1:{server.port}/postgres?sslmode=disable"

    def refuse(thread):
        raise RuntimeError("can't start new thread")

    def descriptors():
        return len(os.listdir("/dev/fd"))

    with PostgreSQLSecretProvider(url, schema=schema, encryption_key=KEY) as provider:
        provider.set_secret("key", "1")
        provider.subscribe_changes(print).close()
        before = descriptors()
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", refuse)
            with pytest.raises(RuntimeError):
                provider.subscribe_changes(print)
        assert descriptors() == before


def test_an_exit_as_it_connects_again_does_not_end_a_watch(server, schema, monkeypatch):
    """As of a plugin that gives the password."""
    exits, opened = [SystemExit()], Pool.open

    def opens(pool, deadline):
        if threading.current_thread().name == "strongroom-postgresql" and exits:
            raise exits.pop()
        return opened(pool, deadline)

    monkeypatch.setattr(Pool, "open", opens)
    url = f"postgresql://postgres:{server.password}@127.0.0.1:{server.port}/postgres?sslmode=disable"
    heard = threading.Event()
    with (
        PostgreSQLSecretProvider(url, schema=schema, encryption_key=KEY) as provider,
        psycopg.connect(url, autocommit=True) as admin,
    ):
        provider.set_secret("key", "value")
        with closing(provider.subscribe_changes(lambda _: heard.set())):
            assert cut(admin, schema) == 1
            assert heard.wait(PATIENCE)  # that something may have been missed
    assert exits == []
