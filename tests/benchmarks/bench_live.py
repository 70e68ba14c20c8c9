"""What live secrets cost: reads of a lease, watches, rotations of a role, and pools that follow a lease."""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import threading
import time
import timeit
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy
from psycopg import sql
from strongroom import SecretProviderRegistry, SecretRotation, generate_key, generate_password
from strongroom.integrations.sqlalchemy import follow
from strongroom_etcd import EtcdSecretProvider
from strongroom_file import FileSecretProvider
from strongroom_postgresql import PostgreSQLSecretProvider
from strongroom_postgresql.rotator import PostgreSQLRotator
from timing import row

sys.path.insert(0, str(Path(__file__).parents[1]))

from etcd_server import EtcdServer  # the tests run them too
from lease_servers import LeaseServers
from postgres_server import PostgresServer

_READS, _ROUNDS = 2_000, 25
_ROTATIONS = 60
_CHANGES = 100
_WATCHED, _LEASES, _IDLE_SECONDS = 100, 5, 31.0
_TTL, _MOST, _FOLLOWED_SECONDS, _THREADS = 4, 8, 16.0, 4


def rows() -> list[dict[str, Any]]:
    """Return what was measured: name, ratio to the peer, the limit that it must keep, and details."""
    with tempfile.TemporaryDirectory(prefix="strongroom-live-") as name:
        folder = Path(name)
        os.environ["XDG_STATE_HOME"] = str(folder / "state")  # of the ledger of leases
        servers = LeaseServers(folder)
        try:
            servers.call("POST", "sys/mounts/secret", type="kv", options={"version": "2"})
            return [
                *_lease_reads(servers),
                *_idle(servers),
                *_pools(servers),
                *_changes(servers.postgres, folder),
                *_rotations(folder),
            ]
        finally:
            servers.stop()


def _of_bao(servers: LeaseServers, **more: Any) -> dict[str, Any]:
    return {"url": servers.bao.url, "token": servers.bao.token, **more}


# --- reads ---


def _lease_reads(servers: LeaseServers) -> list[dict[str, Any]]:
    servers.role("read", 3600, 7200)
    caching = [{"type": "caching", "ttl_seconds": 3600}]
    pipelines = {
        "db": {"provider": {"type": "vault.leases", **_of_bao(servers)}, "middleware": caching},
        "app": {"provider": {"type": "memory", "secrets": {"read": "value"}}, "middleware": caching},
    }
    with SecretProviderRegistry({"version": 1, "pipelines": pipelines}) as registry:
        reads = [registry.pipeline(name).get_secret for name in ("db", "app")]
        timers = [timeit.Timer("read('read')", globals={"read": read}) for read in reads]
        taken = [[min(timer.repeat(3, _READS)) / _READS for timer in timers] for _ in range(_ROUNDS)]
    live, cached = (statistics.median(column) for column in zip(*taken, strict=True))
    return [row("leases: a read of a live lease / a cached read", live, cached, 1.2, unit="µs")]


# --- a process that only watches ---


def _idle(servers: LeaseServers) -> list[dict[str, Any]]:
    """Of processor time, and of threads: those that the process has besides, without watches, are the peer's."""
    for number in range(_LEASES):
        servers.role(f"idle{number}", 3600, 7200)
    pipelines = {
        "app": {"provider": {"type": "vault", **_of_bao(servers)}},
        "db": {"provider": {"type": "vault.leases", **_of_bao(servers)}},
    }
    spec = {"version": 1, "pipelines": pipelines, "routes": [{"prefix": "app/", "pipeline": "app"}]}
    keys = [f"app/{number}" for number in range(_WATCHED)]
    before = threading.active_count()
    with SecretProviderRegistry(spec) as registry:
        registry.set_secrets(dict.fromkeys(keys, "value"))
        for number in range(_LEASES):
            registry.pipeline("db").get_secret(f"idle{number}")
        with registry.watch(keys, lambda _: None):
            used, started = time.process_time(), time.monotonic()
            time.sleep(_IDLE_SECONDS)  # one poll falls into it
            used, span = time.process_time() - used, time.monotonic() - started
            threads = threading.active_count() - before
    name = f"watch: idle, {_WATCHED} secrets of OpenBao and {_LEASES} leases"
    return [
        row(f"{name}: processor time / 0.1 % of a core", used, span / 1000, 1, unit="ms"),
        _counted(f"{name}: threads / 2 sources", threads, 2, 2),
    ]


def _counted(name: str, ours: float, theirs: float, limit: float, peer: str = "") -> dict[str, Any]:
    return {
        "name": name,
        "ratio": ours / theirs,
        "limit": limit,
        "detail": f"{ours:g} against {theirs:g}{peer}",
    }


# --- pools ---


def _pools(servers: LeaseServers) -> list[dict[str, Any]]:
    """One engine follows a lease; another is tuned by hand: short recycling, new credentials a connection."""
    servers.role("followed", _TTL, _MOST)
    servers.role("tuned", _TTL, _MOST)
    url = f"postgresql+psycopg://127.0.0.1:{servers.postgres.port}/postgres"
    provider = {"type": "vault.leases", **_of_bao(servers)}
    issued = {"followed": 0, "tuned": 0}
    failed = {"followed": 0, "tuned": 0}
    end = time.monotonic() + _FOLLOWED_SECONDS

    def work(name: str, engine: sqlalchemy.Engine, users: set[str]) -> None:
        while time.monotonic() < end:
            try:
                with engine.connect() as connection:
                    users.add(connection.scalar(sqlalchemy.text("SELECT current_user")))
            except sqlalchemy.exc.DBAPIError:
                failed[name] += 1
            time.sleep(0.005)

    with SecretProviderRegistry({"version": 1, "pipelines": {"db": {"provider": provider}}}) as registry:
        followed = sqlalchemy.create_engine(url, pool_size=2, max_overflow=2)
        tuned = sqlalchemy.create_engine(url, pool_size=2, max_overflow=2, pool_recycle=_TTL // 2)

        def new_login(_dialect: Any, _record: Any, _args: Any, parameters: dict[str, Any]) -> None:
            issue = servers.call("GET", "database/creds/tuned")["data"]
            parameters |= {"user": issue["username"], "password": issue["password"]}
            issued["tuned"] += 1

        sqlalchemy.event.listen(tuned, "do_connect", new_login)
        follow(followed, registry, "followed")
        users: set[str] = set()
        threads = [
            threading.Thread(target=work, args=(name, engine, seen))
            for name, engine, seen in (("followed", followed, users), ("tuned", tuned, set()))
            for _ in range(_THREADS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        followed.dispose()
        tuned.dispose()
    ideal = _FOLLOWED_SECONDS / _MOST + 1
    peer = f" ideal; an engine tuned by hand took {issued['tuned']}, and {failed['tuned']} queries failed"
    return [
        _counted("leases: that an engine took that follows one / the ideal", len(users), ideal, 1.3, peer),
        _counted("leases: failed queries of that engine, and one more / one", failed["followed"] + 1, 1, 1),
    ]


# --- changes ---


def _changes(postgres: PostgresServer, folder: Path) -> list[dict[str, Any]]:
    """From the end of another process's write to the callback, beside 50 ms."""
    key, address = generate_key(), postgres.url() + "?sslmode=disable"
    sealed = os.urandom(32)
    etcd = EtcdServer()

    def of_file() -> FileSecretProvider:
        return FileSecretProvider(folder / "watched.enc", key)

    def of_postgres() -> PostgreSQLSecretProvider:
        return PostgreSQLSecretProvider(address, schema="watched", encryption_key=sealed)

    def of_etcd() -> EtcdSecretProvider:
        return EtcdSecretProvider(etcd.url, encryption_key=sealed)

    found = []
    try:
        for name, make in (("file", of_file), ("postgresql", of_postgres), ("etcd", of_etcd)):
            with make() as watched, make() as other:
                # Below a millisecond it is the order in which two answers come.
                taken = max(_seen(watched, other), 0.001)
            found.append(row(f"watch: {name}, from a change to its callback / 50 ms", taken, 0.05, 1))
    finally:
        etcd.stop()
    return found


def _seen(watched: Any, other: Any) -> float:
    spec = {"version": 1, "pipelines": {"none": {"provider": {"type": "memory"}}}}
    heard, taken = threading.Event(), []
    at = [0.0]

    def hear(_: Any) -> None:
        at[0] = time.perf_counter()
        heard.set()

    with SecretProviderRegistry(spec) as registry:
        registry.register("app", watched, prefix="")
        other.set_secret("k", "first")
        with registry.watch("k", hear):
            for number in range(_CHANGES):
                heard.clear()
                other.set_secret("k", str(number))
                written = time.perf_counter()
                if not heard.wait(300):
                    raise RuntimeError("a change was not told")
                taken.append(max(at[0] - written, 0))
    return statistics.median(taken)


# --- rotations ---


class _Timed(PostgreSQLRotator):
    """Notes when the server had the new password."""

    altered = 0.0

    def _alter(self, *args: Any, **options: Any) -> None:
        super()._alter(*args, **options)
        self.altered = time.perf_counter()


def _rotations(folder: Path) -> list[dict[str, Any]]:
    """Of a server as it comes: it writes to its disk as it commits, as the store does, and hashes at log-ins."""
    postgres = PostgresServer("fsync=on", "scram_iterations=4096")
    try:
        return _rotations_at(postgres, folder)
    finally:
        postgres.stop()


def _rotations_at(postgres: PostgresServer, folder: Path) -> list[dict[str, Any]]:
    first = generate_password()
    with postgres.login("postgres", postgres.password) as admin:
        for role in ("app", "bare"):
            statement = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}")
            admin.execute(statement.format(sql.Identifier(role), sql.Literal(first)))
    store = {"type": "file", "file_path": str(folder / "s.enc"), "key_file": str(folder / "s.key")}
    pipelines = {"app": {"provider": store, "middleware": [{"type": "caching"}]}}
    with SecretProviderRegistry({"version": 1, "pipelines": pipelines}) as registry:
        registry.set_secret("login", json.dumps({"username": "app", "password": first}))
        rotator = _Timed(postgres.url(), "app")
        rotation = SecretRotation(registry, rotator=rotator)
        promoted = [0.0]
        with registry.watch("login", lambda _: promoted.append(time.perf_counter())):
            taken = [_rotated(rotation, rotator, promoted, postgres) for _ in range(_ROTATIONS)]
    bare, whole, window = (statistics.median(column) for column in zip(*taken, strict=True))
    peer = "log-in and bare ALTER ROLE"
    return [
        row(f"rotation: of a role of PostgreSQL / {peer}", whole, bare, 3),
        row(f"rotation: from ALTER ROLE to the callback of the new value / {peer}", window, bare, 3),
    ]


def _rotated(
    rotation: SecretRotation, rotator: _Timed, promoted: list[float], postgres: PostgresServer
) -> tuple[float, float, float]:
    def alter() -> None:
        with psycopg.connect(postgres.url(), autocommit=True) as admin:
            admin.execute(sql.SQL("ALTER ROLE bare PASSWORD {}").format(sql.Literal(generate_password())))

    bare = _span(alter)
    before = len(promoted)
    whole = _span(lambda: rotation.rotate("login"))
    while len(promoted) == before:
        time.sleep(0.001)
    return bare, whole, promoted[-1] - rotator.altered


def _span(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started
