"""What the PostgreSQL provider makes of a read, a write and a hundred, beside bare psycopg on the same server."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import psycopg
from strongroom.testing.faults import FaultProxy
from strongroom_postgresql import PostgreSQLSecretProvider
from timing import medians, row, seconds

sys.path.insert(0, str(Path(__file__).parents[1]))

from postgres_server import PostgresServer  # the tests run it too

_ROUNDS, _SECRETS, _LATENCY = 1000, 100, 0.02
_FEW = 1_000
_MANY = int(os.environ.get("STRONGROOM_BENCH_SECRETS", "1000000"))
_BATCH = 50_000
_AMONG = "app/7/107"
_CONNECTIONS = 9
"""So often both are opened: where the kernel puts a connection's process makes up to a half of a read's time."""
# Rows as long as those of secrets, that no key opens: to seal a million takes minutes.
_NEIGHBOURS = """
WITH added AS (
    INSERT INTO many.secret
    SELECT substr(sha256(int8send(i)), 1, 32), 1, 1, decode(repeat(md5(i::text), 7), 'hex')
    FROM generate_series(%s::int, %s::int) i RETURNING name
) INSERT INTO many.version SELECT name, 1, name FROM added"""


def rows() -> list[dict[str, Any]]:
    """Return what was measured: name, ratio to the peer, the limit that it must keep, and details."""
    server = PostgresServer()
    try:
        url = _url(server)
        (got, put), batches, sizes = _singles(url), _batches(url, server.port), _sizes(url)
    finally:
        server.stop()
    synced = PostgresServer("fsync=on")
    try:
        _, put_to_disk = _singles(_url(synced))
    finally:
        synced.stop()
    return [
        row("postgresql: one read / bare psycopg's select", *got, 1.3),
        row("postgresql: one write / bare psycopg's upsert and commit", *put, 1.3),
        row("postgresql: one write / bare psycopg's, where a commit waits for the disk", *put_to_disk, 1.3),
        *batches,
        *sizes,
    ]


def _url(server: PostgresServer) -> str:
    return f"{server.url()}?sslmode=disable"


def _singles(url: str) -> tuple[list[float], list[float]]:
    """Return the seconds of a read and of a write, ours and bare psycopg's of each."""
    key = os.urandom(32)
    with (
        PostgreSQLSecretProvider(url, schema="singles", encryption_key=key) as provider,
        psycopg.connect(url, autocommit=True) as reader,
        psycopg.connect(url) as writer,
    ):
        writer.execute("CREATE TABLE bare (k text PRIMARY KEY, v text)")
        writer.commit()
        names = [f"app/{number}" for number in range(_SECRETS)]
        provider.set_secrets(dict.fromkeys(names, "value"))
        upsert = "INSERT INTO bare VALUES (%s, %s) ON CONFLICT (k) DO UPDATE SET v = excluded.v"
        for name in names:
            writer.execute(upsert, (name, "value"))
        writer.commit()

        def select() -> Any:
            return reader.execute("SELECT v FROM bare WHERE k = %s", ("app/7",)).fetchone()

        def write() -> None:
            writer.execute(upsert, ("app/7", "other"))
            writer.commit()

        return (
            medians(_ROUNDS, lambda: provider.get_secret("app/7"), select),
            medians(_ROUNDS, lambda: provider.set_secret("app/7", "other"), write),
        )


def _batches(url: str, port: int) -> list[dict[str, Any]]:
    names = [f"app/{number}" for number in range(_SECRETS)]
    with FaultProxy(port) as proxy:
        far = url.replace(f":{port}/", f":{proxy.port}/")
        with PostgreSQLSecretProvider(far, schema="batches", encryption_key=os.urandom(32)) as provider:
            provider.set_secrets(dict.fromkeys(names, "value"))
            provider.get_secrets(names)
            proxy.latency = _LATENCY
            together = seconds(lambda: provider.get_secrets(names))
            one_by_one = seconds(lambda: [provider.get_secret(name) for name in names])
    return [row("postgresql: 100 reads behind 20 ms, batch / loop", together, one_by_one, 0.05)]


def _sizes(url: str) -> list[dict[str, Any]]:
    key = os.urandom(32)
    with (
        PostgreSQLSecretProvider(url, schema="few", encryption_key=key) as few,
        PostgreSQLSecretProvider(url, schema="many", encryption_key=key) as many,
    ):
        for provider in (few, many):
            provider.set_secrets({f"app/{number % 100}/{number}": "value" for number in range(_FEW)})
        with psycopg.connect(url, autocommit=True) as connection:
            for start in range(_FEW, _MANY, _BATCH):
                connection.execute(_NEIGHBOURS, (start, min(start + _BATCH, _MANY) - 1))
            connection.execute("VACUUM ANALYZE")
            connection.execute("CHECKPOINT")  # else it is written out while one is measured
    got, put = [], []
    for _ in range(_CONNECTIONS):
        with (
            PostgreSQLSecretProvider(url, schema="few", encryption_key=key) as few,
            PostgreSQLSecretProvider(url, schema="many", encryption_key=key) as many,
        ):
            stores, rounds = (many, few), _ROUNDS // _CONNECTIONS
            got.append(medians(rounds, *(partial(one.get_secret, _AMONG) for one in stores)))
            put.append(medians(rounds, *(partial(one.set_secret, _AMONG, "other") for one in stores)))
    sizes = f"{_MANY:,} / {_FEW:,}"
    return [
        row(f"postgresql: one read among {sizes}", *map(median, zip(*got, strict=True)), 1.2),
        row(f"postgresql: one write among {sizes}", *map(median, zip(*put, strict=True)), 1.2),
    ]
