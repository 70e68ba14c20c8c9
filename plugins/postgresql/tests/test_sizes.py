"""How many pages each statement touches in a large store: counted in its plan, and not timed."""

from __future__ import annotations

import json

import psycopg
import pytest
from psycopg import pq
from strongroom.encryption.keys import generate_key
from strongroom_postgresql import PostgreSQLSecretProvider
from strongroom_postgresql.connection import Connection

TYPES = {17: "bytea", 20: "bigint", 25: "text", 701: "float8", 1001: "bytea[]", 1016: "bigint[]"}
PAGES_A_SECRET = 20
"""Of two tables and their indices: four levels of each index, its page of the table, and what is written."""
KEYS = [f"app/{number}" for number in range(12)]
# Rows as long as those of secrets, that no key opens; every name has a folder of its own.
NEIGHBOURS = """
WITH added AS (
    INSERT INTO {0}.secret SELECT substr(sha256(int8send(i)), 1, 24), 1, 1, decode(repeat(md5(i::text), 6), 'hex')
    FROM generate_series(1, %s) i RETURNING name
) INSERT INTO {0}.version SELECT name, 1, name || name FROM added"""


class Plans:
    """Looks at the plan of each statement right before it is sent, and undoes what that look does.

    It looks twice: at the plan for these values, and at the one for any values, which a session keeps for a
    statement that it has sent a few times.
    """

    def __init__(self, url):
        self._connection = psycopg.connect(url, autocommit=True)
        self._pg = self._connection.pgconn
        self.found = []

    def close(self):
        self._connection.close()

    def _ask(self, sql, *parameters):
        values, types = zip(*parameters, strict=True) if parameters else ((), ())
        result = self._pg.exec_params(sql.encode(), values, types, [pq.Format.BINARY] * len(values))
        assert result.status in {pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK}, result.error_message
        return result.get_value(0, 0).decode() if result.ntuples else None

    def look(self, statement, values):
        types = [TYPES[kind] for kind in statement.types]
        quoted = [
            f"quote_nullable((${number}::{kind})::text) || '::{kind}'" for number, kind in enumerate(types, 1)
        ]
        literals = self._ask(
            f"SELECT concat_ws(', ', {', '.join(quoted)})", *zip(values, statement.types, strict=True)
        )
        for mode in ("custom", "generic"):
            self._ask(f"SET plan_cache_mode = force_{mode}_plan")
            self._ask("BEGIN")
            self._ask(f"PREPARE looked_at ({', '.join(types)}) AS {statement.sql.decode()}")
            explain = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE looked_at ({literals})"
            plan = json.loads(self._ask(explain))[0]["Plan"]
            self._ask("ROLLBACK")
            self._ask("DEALLOCATE looked_at")
            pages = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
            self.found.append((statement.name, mode, pages))


def calls(provider):
    """Return each kind of call, with the number of secrets that it is about."""
    version = provider.describe_secret("app/1").version
    return [
        (1, lambda: provider.get_secret("app/1")),
        (1, lambda: provider.set_secret("app/1", "2")),
        (1, lambda: provider.set_secret("app/new", "2")),
        (1, lambda: provider.set_secret_if("app/2", "2", provider.describe_secret("app/2").version)),
        (1, lambda: provider.stage_secret("app/3", "2")),
        (1, lambda: provider.get_secret_version("app/1", version)),
        (1, lambda: provider.list_versions("app/1")),
        (1, lambda: provider.delete_secret("app/4")),
        (len(KEYS), lambda: provider.get_secrets(KEYS[5:])),
        (len(KEYS), lambda: provider.describe_secrets(KEYS[5:])),
        (len(KEYS), lambda: provider.set_secrets(dict.fromkeys(KEYS, "3"))),
        (len(KEYS), lambda: provider.set_secrets({f"other/{number}": "3" for number in range(len(KEYS))})),
        (len(KEYS), lambda: provider.list_secrets("app/")),
    ]


def check(server, schema, monkeypatch, neighbours, *, is_analyzed=False):
    url = f"{server.url()}?sslmode=disable"
    plans, run, wrong = Plans(url), Connection.run, []

    def looked_at(self, statement, values, deadline):
        plans.look(statement, values)
        return run(self, statement, values, deadline)

    try:
        with PostgreSQLSecretProvider(url, schema=schema, encryption_key=generate_key()) as provider:
            for number in range(15):
                provider.set_secrets(dict.fromkeys(KEYS, str(number)))
            with server.login("postgres", server.password) as admin:
                admin.execute("ANALYZE")  # of few secrets with many versions, before the others come
                admin.execute(NEIGHBOURS.format(schema), [neighbours])
                if is_analyzed:
                    admin.execute("ANALYZE")
            planned = calls(provider)
            monkeypatch.setattr(Connection, "run", looked_at)
            for count, call in planned:
                plans.found.clear()
                call()
                assert plans.found
                wrong += [
                    f"{name}, {mode}: {pages} pages for {count}"
                    for name, mode, pages in plans.found
                    if pages > count * PAGES_A_SECRET
                ]
        assert wrong == []
    finally:
        monkeypatch.undo()
        plans.close()


def test_no_statement_reads_what_it_is_not_about(server, schema, monkeypatch):
    check(server, schema, monkeypatch, 5_000)


def test_no_plan_that_is_kept_goes_through_a_table(server, schema):
    """A session keeps its plans: one made in a small store that was analyzed would read a large one row by row."""
    url = f"{server.url()}?sslmode=disable"
    scans = "SELECT sum(seq_scan)::int FROM pg_stat_user_tables WHERE schemaname = %s AND relname <> 'store'"
    with PostgreSQLSecretProvider(url, schema=schema, encryption_key=generate_key()) as provider:
        provider.set_secrets(dict.fromkeys(KEYS, "1"))
        [session] = provider._backend._pool._idle
        with server.login("postgres", server.password) as admin:
            admin.execute(f"VACUUM ANALYZE {schema}.secret, {schema}.version")

            def scanned():
                session.opened.execute("SELECT pg_stat_force_next_flush()")
                return admin.execute(scans, [schema]).fetchone()[0]

            before = scanned()
            for _, call in calls(provider):
                call()
            assert scanned() == before


def test_a_write_looks_at_no_version_but_the_one_that_it_drops(server, schema):
    """Counted in the index of the versions, where those that were dropped lately still are."""
    url = f"{server.url()}?sslmode=disable"
    reads = "SELECT idx_tup_read FROM pg_stat_user_indexes WHERE schemaname = %s AND relname = 'version'"
    with PostgreSQLSecretProvider(
        url, schema=schema, encryption_key=generate_key(), max_versions=50
    ) as provider:
        for number in range(60):
            provider.set_secret("key", str(number))
        [session] = provider._backend._pool._idle
        with server.login("postgres", server.password) as admin:

            def read():
                session.opened.execute("SELECT pg_stat_force_next_flush()")
                return admin.execute(reads, [schema]).fetchone()[0]

            before = read()
            for number in range(20):
                provider.set_secret("key", str(number))
            assert read() - before <= 2 * 20
        assert len(provider.list_versions("key")) == 50


@pytest.mark.torture
@pytest.mark.parametrize("is_analyzed", [False, True])
def test_no_statement_reads_what_it_is_not_about_among_a_million(server, schema, monkeypatch, is_analyzed):
    check(server, schema, monkeypatch, 1_000_000, is_analyzed=is_analyzed)
