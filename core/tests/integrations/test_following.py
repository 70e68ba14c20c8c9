"""Pools that follow a secret: what they know of it, and that an event loop never waits for it."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
import time
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
from psycopg import AsyncConnection, OperationalError
from psycopg_pool import AsyncConnectionPool, ConnectionPool
from sqlalchemy import create_engine
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import QueuePool
from sqlalchemy.util import greenlet_spawn
from strongroom import SecretHook, SecretProviderRegistry, SecretRotation, TenantContext, generate_key
from strongroom.errors import BackendUnavailableError, RotationError, TenantContextError
from strongroom.integrations import django, psycopg, sqlalchemy
from strongroom.integrations.following import Follower
from strongroom_memory import MemorySecretProvider


class Backend(MemorySecretProvider):
    """It holds reads up while it is slow; `read` is called at each."""

    slow = False
    read = staticmethod(lambda: None)

    def __init__(self):
        super().__init__(secrets={"app": "first-one"})
        self.entered, self.go = threading.Event(), threading.Event()
        self.was_let_go = None

    def get_secret(self, key):
        value = super().get_secret(key)
        self.read()
        if self.slow:
            self.entered.set()
            self.was_let_go = self.go.wait(20)
            raise BackendUnavailableError("down")
        return value


@pytest.fixture
def backend():
    return Backend()


@pytest.fixture
def registry(backend):
    with SecretProviderRegistry({"version": 1, "pipelines": {"p": {"provider": {"type": "memory"}}}}) as made:
        made.register("app", backend, prefix="")
        yield made


class Connection:
    """One that the pool opened before it followed."""

    _expire_at = None
    closed = False

    async def close(self):
        self.closed = True


def pool_of_psycopg(registry):
    pool = AsyncConnectionPool("host=127.0.0.1", open=False)
    returned = []

    async def put(connection):
        returned.append(connection)

    pool.putconn = put
    follower = psycopg.follow(pool, registry, "app")

    async def hand_out():
        try:
            await pool._check(Connection())
        except OperationalError:
            return False
        return True

    async def take_back():
        connection = Connection()
        await pool.putconn(connection)
        assert returned == [connection]

    return follower, hand_out, take_back


def engine_of_sqlalchemy(registry):
    engine = create_async_engine("postgresql+psycopg://127.0.0.1/postgres")
    follower = sqlalchemy.follow(engine, registry, "app")
    events = engine.sync_engine.pool.dispatch
    ended = []
    record = SimpleNamespace(info={}, starttime=0.0, invalidate=lambda: ended.append(True))

    async def hand_out():
        try:
            await greenlet_spawn(events.checkout, object(), record, None)
        except DisconnectionError:
            return False
        return True

    async def take_back():
        events.checkin(object(), record)
        assert ended == []

    return follower, hand_out, take_back


@pytest.mark.parametrize("make", [pool_of_psycopg, engine_of_sqlalchemy])
def test_an_event_loop_does_not_wait_for_the_value_after_a_change(registry, backend, make):
    """In an outage, all that the program does would stand still at each connection."""
    follower, hand_out, take_back = make(registry)
    backend.slow = True
    follower._heard([])  # as after a change

    async def run():
        await take_back()  # at once: it is looked at when it is handed out
        assert not backend.entered.is_set()
        waiting = asyncio.create_task(hand_out())
        assert await asyncio.to_thread(backend.entered.wait, 300)
        backend.go.set()
        assert await waiting  # in an outage it is not known to be old
        backend.slow = False
        assert follower.values() == {"password": "first-one"}
        assert not await hand_out()

    asyncio.run(run())
    assert backend.was_let_go
    follower.close()


@pytest.mark.parametrize("kind", ["psycopg", "sqlalchemy"])
def test_asyncio_prints_no_value_with_which_a_connection_is_opened(kind, registry, monkeypatch, caplog):
    """In its debug mode it logs slow handles with their arguments, and futures show their results."""
    given = []

    async def run():
        asyncio.get_running_loop().slow_callback_duration = 0  # all are slow
        if kind == "psycopg":
            pool = AsyncConnectionPool("host=127.0.0.1", open=False)
            follower = psycopg.follow(pool, registry, "app")

            async def connect(_class, _conninfo="", **values):
                given.append(values["password"])

                class Opened:
                    pass

                return Opened()

            monkeypatch.setattr(AsyncConnection, "connect", classmethod(connect))
            log_in = pool.connection_class.connect("")
        else:
            engine = create_async_engine("postgresql+psycopg://127.0.0.1/postgres").sync_engine
            follower = sqlalchemy.follow(engine, registry, "app")
            monkeypatch.setattr(
                engine.dialect, "connect", lambda *_, **values: given.append(values["password"])
            )
            record = SimpleNamespace(info={})
            (connect,) = engine.dialect.dispatch.do_connect
            log_in = greenlet_spawn(connect, engine.dialect, record, [], {})
        task, seen = asyncio.ensure_future(log_in), []
        while not task.done():
            seen.append(repr(task))
            await asyncio.sleep(0)
        await task
        follower.close()
        return seen

    seen = asyncio.run(run(), debug=True)
    assert given == ["first-one"]
    assert any("Executing" in line for line in caplog.messages)
    assert not [line for line in [*seen, *caplog.messages] if "first-one" in line]


def test_a_cancelled_task_leaves_its_connection_as_any_other_does(registry, monkeypatch):
    """Also while the server is asked whether its lease still lives: else no transaction would be rolled back."""
    pool = AsyncConnectionPool("host=127.0.0.1", open=False)
    follower = psycopg.follow(pool, registry, "app")
    entered, go, left = threading.Event(), threading.Event(), []

    async def leave(_connection, *given):
        left.append(given[0])

    def ask(_error):
        entered.set()
        assert go.wait(300)

    monkeypatch.setattr(AsyncConnection, "__aexit__", leave)
    monkeypatch.setattr(follower, "failed", ask)
    connection = object.__new__(pool.connection_class)

    async def run():
        await connection.__aexit__(asyncio.CancelledError, asyncio.CancelledError(), None)
        assert not entered.is_set()
        task = asyncio.create_task(connection.__aexit__(OSError, OSError(), None))
        assert await asyncio.to_thread(entered.wait, 300)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        go.set()

    asyncio.run(run())
    assert left == [asyncio.CancelledError, OSError]
    follower.close()


@pytest.mark.parametrize("kind", [ConnectionPool, AsyncConnectionPool])
def test_a_pool_whose_connections_return_when_they_are_closed_does_not_grow(registry, kind):
    """With `close_returns`, it opened two connections for each that was not handed out."""
    pool = kind("host=127.0.0.1", open=False, close_returns=True)
    follower = psycopg.follow(pool, registry, "app")
    before = object.__new__(pool.connection_class.__mro__[1])  # from before it followed
    before._pool, closed, returned = pool, [], []
    before.pgconn = SimpleNamespace(status=0, finish=lambda: closed.append(before))

    def put(connection):
        returned.append(connection)
        return asyncio.sleep(0)

    pool.putconn = put

    async def check():
        await pool._check(before)

    with pytest.raises(OperationalError, match="no longer those to log in with"):
        pool._check(before) if kind is ConnectionPool else asyncio.run(check())
    assert (closed, returned) == ([before], [])
    follower.close()


class Closed(SecretHook):
    """A veto of the program's own type; it reaches the caller as it is."""

    def before(self, event):
        raise LookupError("not on a Sunday")


def test_no_pool_loses_a_connection_because_a_hook_refuses_to_read(registry):
    """What is raised as it comes back would keep it from the pool: after a few, nobody gets any."""
    pool = ConnectionPool("host=127.0.0.1", open=False)
    returned = []
    pool.putconn = returned.append
    engine = create_engine("postgresql+psycopg://127.0.0.1/postgres")
    of_pool, of_engine = psycopg.follow(pool, registry, "app"), sqlalchemy.follow(engine, registry, "app")
    registry.add_hook(Closed())
    for follower in (of_pool, of_engine):
        follower._heard([])  # as after a change
    connection, record = Connection(), SimpleNamespace(info={}, starttime=0.0)
    pool.putconn(connection)
    engine.pool.dispatch.checkin(object(), record)
    assert returned == [connection]
    refusal = OperationalError("password authentication failed")
    assert of_pool.attempts().again(refusal, {"password": "first-one"}) is None
    of_pool.close()
    of_engine.close()


def test_a_clock_that_is_set_back_makes_no_connection_of_an_own_creator_an_older_one(registry, monkeypatch):
    opened = []

    def creator():
        opened.append(sqlite3.connect(":memory:"))
        return opened[-1]

    engine = create_engine("sqlite://", creator=creator, poolclass=QueuePool)
    engine.connect().close()
    follower, now = sqlalchemy.follow(engine, registry, "app"), time.time()
    monkeypatch.setattr(time, "time", lambda: now - 7200)
    for _ in range(2):
        engine.connect().close()
        assert len(opened) == 2  # the first was there before, and is no longer given out
    follower.close()
    engine.dispose()


def test_it_ends_whole_even_if_a_part_of_it_cannot(registry):
    """Else the watch would go on for ever."""
    follower, ended = Follower(registry, "app"), []
    follower._ends.insert(0, lambda: 1 / 0)
    follower.when_closed(lambda: ended.append(True))
    with pytest.raises(ZeroDivisionError):
        follower.close()
    assert ended == [True]
    assert registry._watches == ()
    follower.close()


def test_a_change_while_it_begins_is_not_missed(registry, backend):
    """Between the first read and the watch, nobody would tell of it."""

    def change():
        backend.read = lambda: None
        backend.set_secret("app", "second-one")

    backend.read = change
    follower = Follower(registry, "app")
    deadline = time.monotonic() + 60
    while follower.values() != {"password": "second-one"}:
        assert time.monotonic() < deadline
    follower.close()


def test_what_was_read_before_a_change_is_not_kept_after_it(registry, backend):
    """The read of one change may end after the next one."""
    follower = Follower(registry, "app")
    follower._forget()

    def change():
        backend.read = lambda: None
        backend.set_secret("app", "second-one")
        follower._heard([])

    backend.read = change
    assert follower.values() == {"password": "first-one"}
    assert follower.values() == {"password": "second-one"}
    follower.close()


def test_it_does_not_go_on_where_it_could_not_begin(registry, backend):
    """The watch that it had begun is closed."""
    backend.set_secret("app", '{"username": "a"}')
    with pytest.raises(Exception, match="no text `password`"):
        Follower(registry, "app")
    assert registry._watches == ()


def with_tenants(*middleware):
    pipeline = {"provider": {"type": "memory"}, "middleware": [{"type": "caching"}, *middleware]}
    return SecretProviderRegistry({"version": 1, "pipelines": {"p": pipeline}})


def test_the_values_are_those_of_the_tenant_in_which_it_was_made():
    """Whoever opens a connection: the thread of a pool, or a request of another tenant."""
    with with_tenants({"type": "tenant"}) as registry:
        for tenant in ("acme", "beta"):
            with TenantContext(tenant):
                registry.set_secret("app", f"of-{tenant}")
        with TenantContext("acme"):
            follower = Follower(registry, "app")
        for asking in (TenantContext("beta"), nullcontext()):
            follower._forget()  # as a change does
            with asking:
                assert follower.values() == {"password": "of-acme"}
                assert follower.newer({"password": "of-beta"}) == {"password": "of-acme"}
        with TenantContext("acme"):
            registry.set_secret("app", "of-acme, too")
            with pytest.raises(RotationError):
                SecretRotation(registry, apply=refuse).rotate("app")
        assert follower.rotates()
        follower.close()


def refuse(*_):
    raise OSError("no")


def test_the_values_without_a_tenant_are_read_without_one():
    """What was encrypted outside tenants is unreadable within one."""
    with with_tenants({"type": "encryption", "key": generate_key()}) as registry:
        registry.set_secret("app", "first")
        follower = Follower(registry, "app")
        follower._forget()
        with TenantContext("acme"):
            assert follower.values() == {"password": "first"}
        follower.close()


class Database(django.FollowsSecret):
    """As much of Django's as decides who logs in."""

    alias, settings_dict = "default", {"FOLLOWS": "app"}

    def __init__(self):
        """Open nothing."""


def test_a_database_of_django_belongs_to_no_tenant(monkeypatch):
    """The first request that needs it decides nothing for those of other tenants."""
    with with_tenants({"type": "encryption", "key": generate_key()}) as registry:
        registry.set_secret("app", "first")
        monkeypatch.setattr(django, "settings", SimpleNamespace(STRONGROOM=registry))
        for tenant in ("acme", "beta"):
            with TenantContext(tenant):
                assert Database()._follower().values() == {"password": "first"}
    with with_tenants({"type": "tenant"}) as registry:
        monkeypatch.setattr(django, "settings", SimpleNamespace(STRONGROOM=registry))
        with TenantContext("acme"):
            registry.set_secret("app", "of-acme")
            with pytest.raises(TenantContextError):
                Database()._follower()


class Pooling:
    """As much of Django's PostgreSQL as has a pool, which all its threads share."""

    shared = SimpleNamespace()

    @property
    def pool(self):
        return self.shared


def test_the_pool_of_django_follows_once_however_many_threads_begin_with_it(monkeypatch):
    """A second handle would never be closed."""
    made, second, go = [], threading.Event(), threading.Event()

    def follow(*_, **__):
        made.append(threading.current_thread())
        assert go.wait(300)
        return object()

    class Wrapper(django.FollowsSecret, Pooling):
        def __init__(self):
            """Open nothing."""

        def _followed(self):
            if made:
                second.set()
            return None, "app", None

    monkeypatch.setattr(psycopg, "follow", follow)
    threads = []
    for _ in range(2):
        threads.append(threading.Thread(target=lambda: Wrapper().pool))
        threads[-1].start()
        while not made:
            os.sched_yield()
    assert second.wait(300)
    go.set()
    for thread in threads:
        thread.join()
    assert len(made) == 1


def test_a_forked_child_follows_too(tmp_path):
    """Its watch goes on when the registry is used, which values of the parent's would put off for ever."""
    (tmp_path / "key").write_text(generate_key())
    (tmp_path / "key").chmod(0o600)
    options = {"file_path": str(tmp_path / "store"), "key_file": str(tmp_path / "key")}
    spec = {"version": 1, "pipelines": {"p": {"provider": {"type": "file", **options}}}}
    reading, writing = os.pipe()
    with SecretProviderRegistry(spec) as registry:
        registry.set_secret("app", "first")
        changed = threading.Event()
        follower = Follower(registry, "app", changed=changed.set)
        child = os.fork()
        if child == 0:  # pragma: no cover  # coverage does not follow
            try:
                os.write(writing, follower.values()["password"].encode())
                changed.wait(60)
                os.write(writing, b" " + follower.values()["password"].encode())
            finally:
                os._exit(0)
        os.close(writing)
        try:
            assert os.read(reading, 5) == b"first"
            registry.set_secret("app", "second")
            assert os.read(reading, 99) == b" second"
        finally:
            os.close(reading)
            os.waitpid(child, 0)
            follower.close()
