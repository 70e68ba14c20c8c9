#!/usr/bin/env bash
# psycopg-pool 3.3.3 with psycopg 3.3.9, asyncpg 0.32.0 and SQLAlchemy 2.1.9, PostgreSQL 16 (pgserver 0.1.4): what a pool says after a rotation.
# Seen: once the password has changed and the connections are gone, psycopg's pool ends each request with PoolTimeout after its whole time-out,
# "couldn't get a connection after 1.00 sec", without a cause, and so it does where the server is down; that the password is refused is
# in the log alone. SQLAlchemy and asyncpg say so at once. Guess: a refused password is an error of its own, by which a
# program knows to read it again. Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check pgserver==0.1.4 psycopg==3.3.9 psycopg-binary==3.3.9 psycopg-pool==3.3.3 asyncpg==0.32.0 sqlalchemy==2.1.9
cat >see.py <<'END'
import asyncio
import importlib.util
import logging
import os
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import asyncpg
import psycopg
from psycopg_pool import ConnectionPool
from sqlalchemy import URL, create_engine

programs = Path(importlib.util.find_spec("pgserver").origin).parent / "pginstall" / "bin"
folder = Path(tempfile.mkdtemp(dir="."))
who = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
if who:
    os.chown(folder, 65534, 65534)
with socket.socket() as one:
    one.bind(("127.0.0.1", 0))
    port = one.getsockname()[1]
data = str(folder.resolve() / "data")
subprocess.run(
    [programs / "initdb", "-D", data, "-U", "postgres", "--auth-local=trust", "--auth-host=scram-sha-256"],
    check=True, stdout=subprocess.DEVNULL, **who,
)
server = subprocess.Popen(
    [programs / "postgres", "-D", data, "-p", str(port), "-h", "127.0.0.1", "-k", str(folder.resolve())],
    stderr=subprocess.DEVNULL, **who,
)
place = {"host": "127.0.0.1", "port": port, "user": "app", "password": "old"}
logging.getLogger("asyncpg").addHandler(logging.NullHandler())
logged = []
logging.getLogger("psycopg.pool").addHandler(type("Keep", (logging.Handler,), {"emit": lambda _, record: logged.append(record.getMessage())})())


def error_of(call):
    try:
        call()
    except Exception as error:
        return error
    return None


def rotate(password):
    """Change the password, and end the connections that have the one before."""
    admin.execute(f"ALTER ROLE app PASSWORD '{password}'")
    admin.execute("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE usename = 'app'")


def by_psycopg():
    """The errors of two requests after the rotation, and of one with the server stopped."""
    with ConnectionPool(kwargs={**place, "dbname": "postgres"}, min_size=1, max_size=1, timeout=1) as pool:

        def use():
            with pool.connection() as connection:
                connection.execute("SELECT 1")

        pool.wait()
        rotate("new")
        error_of(use)
        errors = [error_of(use)]
        errors.append(error_of(use))
        server.send_signal(signal.SIGINT)
        server.wait()
        errors.append(error_of(use))
    return errors


def by_sqlalchemy():
    url = URL.create("postgresql+psycopg", place["user"], place["password"], place["host"], port, "postgres")
    engine = create_engine(url, pool_pre_ping=True)

    def use():
        with engine.connect() as connection:
            connection.exec_driver_sql("SELECT 1")

    use()
    rotate("new")
    return error_of(use)


async def by_asyncpg():
    async with asyncpg.create_pool(**place, database="postgres", min_size=1, max_size=1) as pool:
        await pool.execute("SELECT 1")
        rotate("new")
        for _ in range(100):
            try:
                await pool.execute("SELECT 1")
            except asyncpg.InvalidPasswordError as error:
                return error
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                await asyncio.sleep(0.1)


try:
    for _ in range(100):
        try:
            admin = psycopg.connect(host=str(folder.resolve()), port=port, user="postgres", autocommit=True)
            break
        except psycopg.OperationalError:
            time.sleep(0.1)
    admin.execute("CREATE ROLE app LOGIN PASSWORD 'old'")
    seen = {"SQLAlchemy": by_sqlalchemy()}
    rotate("old")
    seen["asyncpg"] = asyncio.run(by_asyncpg())
    rotate("old")
    errors = by_psycopg()
finally:
    server.send_signal(signal.SIGINT)
    server.wait()
for name, error in seen.items():
    print(f"{name}: {type(error).__name__}: {str(error).splitlines()[0]}")
    assert 'password authentication failed for user "app"' in str(error)
for state, error in zip(("refused", "refused again", "server down"), errors, strict=True):
    print(f"psycopg_pool, {state}: {type(error).__name__}: {error}, SQLSTATE {error.sqlstate}, cause {error.__cause__}")
    assert (type(error).__name__, str(error)) == ("PoolTimeout", "couldn't get a connection after 1.00 sec")
    assert error.sqlstate is error.__cause__ is None
told = any("password authentication failed" in one for one in logged)
print("the log tells of the password:", told)
assert told
END
venv/bin/python see.py
