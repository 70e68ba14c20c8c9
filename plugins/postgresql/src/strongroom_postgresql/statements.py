# ruff: noqa: S608  # what is put together here are our own texts, and a schema that a pattern has checked
"""The statements, and the tables. docs/explanation/sealed-stores.md describes the columns."""

from __future__ import annotations

from typing import Final

from strongroom_postgresql.connection import BYTEA, BYTEA_ARRAY, FLOAT8, INT8, INT8_ARRAY, TEXT, Statement

__all__ = ["FORMAT", "MIGRATIONS", "Statements"]

MIGRATIONS: Final = (
    """\
CREATE TABLE {schema}.store (
    id smallint PRIMARY KEY CHECK (id = 1),
    format integer NOT NULL,
    header bytea NOT NULL
);
CREATE TABLE {schema}.secret (
    name bytea PRIMARY KEY,
    number bigint NOT NULL,
    low bigint NOT NULL,
    head bytea NOT NULL
) WITH (fillfactor = 80);
ALTER TABLE {schema}.secret ALTER head SET STORAGE EXTERNAL;
CREATE TABLE {schema}.version (
    name bytea,
    number bigint,
    body bytea NOT NULL,
    PRIMARY KEY (name, number)
);
ALTER TABLE {schema}.version ALTER body SET STORAGE EXTERNAL;
CREATE TABLE {schema}.lock (
    name bytea PRIMARY KEY,
    token bigint NOT NULL,
    holder bytea NOT NULL,
    until timestamptz NOT NULL
)""",
)
"""The statements that make the tables, for each format; docs/how-to/backends/postgresql.md has them, too."""
FORMAT: Final = len(MIGRATIONS)

_DROP = """\
, dropped AS (
    DELETE FROM {schema}.version WHERE name = $1 AND number {which} AND EXISTS (SELECT FROM changed)
)"""
# A write drops nothing, or the oldest version, or now and then several. Asked for several, the server goes
# through all versions of the secret, those included that were dropped lately: that alone took longer than the
# rest of the write.
_DROPS: Final = {0: "", 1: _DROP.replace("{which}", "= $6"), 2: _DROP.replace("{which}", "= ANY ($6)")}
_SINGLE = """\
, added AS (
    INSERT INTO {schema}.version SELECT name, $2, $5 FROM changed
    RETURNING CASE WHEN $8 <> '' THEN pg_catalog.pg_notify($7, $8) END
)
SELECT (SELECT count(*) FROM added),
       CASE WHEN EXISTS (SELECT FROM changed) THEN NULL ELSE
           (SELECT head FROM {schema}.secret WHERE name = $1) END"""
# Ordered and limited, so that the index is read whatever the statistics say: of a store that grew from few
# secrets with many versions they say, until the next ANALYZE, that each name has a share of all rows.
_NEEDED = (
    "LEFT JOIN LATERAL (SELECT v.number, v.body FROM {schema}.version v WHERE v.name = s.name"
    " AND v.number >= s.low ORDER BY v.number LIMIT 10000) v ON true"
)
_LAST = "(SELECT max(v.number) FROM {schema}.version v WHERE v.name = s.name)"


class Statements:
    """The statements for one schema."""

    def __init__(self, schema: str) -> None:
        quoted = f'"{schema}"'

        def made(name: str, sql: str, *types: int) -> Statement:
            return Statement(f"strongroom_{name}", sql.replace("{schema}", quoted).encode(), types)

        self.header = made("header", "SELECT header, format::bigint FROM {schema}.store WHERE id = 1")
        self.replace_header = made(
            "rekey",
            "UPDATE {schema}.store SET header = $2 WHERE id = 1 AND header = $1 RETURNING 1::bigint",
            BYTEA,
            BYTEA,
        )
        self.read = made(
            "read",
            f"SELECT s.name, s.head, v.number, v.body FROM {{schema}}.secret s {_NEEDED} WHERE s.name = $1",
            BYTEA,
        )
        self.read_many = made(
            "read_many",
            f"SELECT s.name, s.head, v.number, v.body FROM {{schema}}.secret s {_NEEDED}"
            " WHERE s.name = ANY ($1)",
            BYTEA_ARRAY,
        )
        self.heads = made(
            "heads",
            f"SELECT s.name, s.head, {_LAST} FROM {{schema}}.secret s WHERE s.name = ANY ($1)",
            BYTEA_ARRAY,
        )
        self.row = made(
            "row", "SELECT body FROM {schema}.version WHERE name = $1 AND number = $2", BYTEA, INT8
        )
        self.scan = made(
            "scan",
            f"SELECT s.name, s.head, {_LAST} FROM {{schema}}.secret s"
            " WHERE s.name >= $1 AND s.name < $2 ORDER BY s.name LIMIT $3",
            BYTEA,
            BYTEA,
            INT8,
        )
        self.insert = made(
            "insert",
            "WITH changed AS (INSERT INTO {schema}.secret VALUES ($1, $2, $3, $4)"
            " ON CONFLICT DO NOTHING RETURNING name)" + _SINGLE,
            *(BYTEA, INT8, INT8, BYTEA, BYTEA, INT8, TEXT, TEXT),
        )
        self.updates = {
            drops: made(
                f"update_{drops}",
                "WITH changed AS (UPDATE {schema}.secret SET number = $2, low = $3, head = $4"
                f" WHERE name = $1 AND substr(head, octet_length(head) - 15) = $9 RETURNING name){drop}"
                + _SINGLE,
                *(BYTEA, INT8, INT8, BYTEA, BYTEA, INT8_ARRAY if drops > 1 else INT8, TEXT, TEXT, BYTEA),
            )
            for drops, drop in _DROPS.items()
        }
        """By how many versions they drop: none, one, or as many as an array has."""
        self.write_many = made(
            "write_many",
            """\
WITH want AS (
    SELECT * FROM unnest($1, $2, $3, $4, $5, $6) w (name, number, low, head, body, tag)
), held AS (
    SELECT s.name, substr(s.head, octet_length(s.head) - 15) AS tag
    FROM {schema}.secret s WHERE s.name = ANY ($1) ORDER BY s.name FOR UPDATE
), fits AS (
    SELECT count(*) = 0 AS ok FROM want w LEFT JOIN held h ON h.name = w.name
    WHERE h.tag IS DISTINCT FROM w.tag
), changed AS (
    UPDATE {schema}.secret s SET number = w.number, low = w.low, head = w.head FROM want w
    WHERE s.name = w.name AND w.tag IS NOT NULL AND (SELECT ok FROM fits)
), made AS (
    INSERT INTO {schema}.secret SELECT name, number, low, head FROM want
    WHERE tag IS NULL AND (SELECT ok FROM fits) ORDER BY name
), dropped AS (
    DELETE FROM {schema}.version v USING unnest($7, $8) d (name, number)
    WHERE v.name = d.name AND v.number = d.number AND (SELECT ok FROM fits)
), added AS (
    INSERT INTO {schema}.version SELECT name, number, body FROM want WHERE (SELECT ok FROM fits)
), notified AS (
    SELECT pg_catalog.pg_notify($9, $10) FROM fits WHERE ok AND $10 <> ''
)
SELECT w.name, s.head FROM want w LEFT JOIN {schema}.secret s ON s.name = w.name
WHERE NOT (SELECT ok FROM fits)
UNION ALL SELECT NULL, NULL FROM fits WHERE ok AND (SELECT count(*) FROM notified) >= 0""",
            *(BYTEA_ARRAY, INT8_ARRAY, INT8_ARRAY, BYTEA_ARRAY, BYTEA_ARRAY, BYTEA_ARRAY),
            *(BYTEA_ARRAY, INT8_ARRAY, TEXT, TEXT),
        )
        self.acquire = made(
            "acquire",
            "INSERT INTO {schema}.lock AS l VALUES ($1, 1, $2, clock_timestamp() + make_interval(secs => $3))"
            " ON CONFLICT (name) DO UPDATE SET token = l.token + 1, holder = excluded.holder,"
            " until = excluded.until WHERE l.until < clock_timestamp()"
            # The answer to the same statement may have been lost.
            " OR l.holder = excluded.holder RETURNING token",
            BYTEA,
            BYTEA,
            FLOAT8,
        )
        self.release = made(
            "release",
            "UPDATE {schema}.lock SET until = '-infinity' WHERE name = $1 AND holder = $2 RETURNING token",
            BYTEA,
            BYTEA,
        )
