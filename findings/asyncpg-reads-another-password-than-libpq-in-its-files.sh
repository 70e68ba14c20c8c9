#!/usr/bin/env bash
# asyncpg 0.32.0 with PostgreSQL 16 (pgserver 0.1.4) and psycopg 3.3.9: asyncpg reads libpq's two files of passwords otherwise.
# Seen: the password a:b\c is written a\:b\\c in .pgpass, as its description asks for; psycopg (libpq) logs in, asyncpg sends a\:b\\c
# and is refused. Without the backslashes it is libpq that is refused. A blank at the end of a password in .pgpass is one for libpq and none
# for asyncpg. In pg_service.conf p%%w is p%%w for libpq and p%w for asyncpg. Guess: files of libpq mean what libpq reads.
# Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check asyncpg==0.32.0 pgserver==0.1.4 psycopg==3.3.9 psycopg-binary==3.3.9
cat >see.py <<'END'
import asyncio
import importlib.util
import os
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import asyncpg
import psycopg

programs = Path(importlib.util.find_spec("pgserver").origin).parent / "pginstall" / "bin"
folder = Path(tempfile.mkdtemp(dir=".")).resolve()
who = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
if who:
    os.chown(folder, 65534, 65534)
with socket.socket() as one:
    one.bind(("127.0.0.1", 0))
    port = one.getsockname()[1]
data = str(folder / "data")
subprocess.run(
    [programs / "initdb", "-D", data, "-U", "postgres", "--auth-local=trust", "--auth-host=scram-sha-256"],
    check=True, stdout=subprocess.DEVNULL, **who,
)
server = subprocess.Popen(
    [programs / "postgres", "-D", data, "-p", str(port), "-h", "127.0.0.1", "-k", str(folder)],
    stderr=subprocess.DEVNULL, **who,
)
os.environ["PGPASSFILE"] = str(folder / "pgpass")
os.environ["PGSERVICEFILE"] = str(folder / "pg_service.conf")
PLACE = {"host": "127.0.0.1", "port": port, "user": "app"}


def by_libpq(**place):
    try:
        psycopg.connect(**place).close()
    except psycopg.OperationalError as error:
        return str(error).rpartition("FATAL:")[2].strip().splitlines()[0]
    return "in"


def by_asyncpg(**place):
    async def connect():
        await (await asyncpg.connect(**place)).close()

    try:
        asyncio.run(connect())
    except asyncpg.InvalidPasswordError as error:
        return str(error)
    return "in"


def see(password, *, pgpass="", service=None):
    """How libpq and asyncpg log in where the file says so."""
    admin.execute(f"ALTER ROLE app PASSWORD $pw${password}$pw$")
    Path(os.environ["PGPASSFILE"]).write_text(f"127.0.0.1:{port}:*:app:{pgpass}\n" if pgpass else "")
    Path(os.environ["PGPASSFILE"]).chmod(0o600)
    if service is None:
        seen = by_libpq(**PLACE, dbname="postgres"), by_asyncpg(**PLACE, database="postgres")
    else:
        lines = [f"{name}={value}" for name, value in PLACE.items()]
        text = "\n".join(["[app]", *lines, "dbname=postgres", f"password={service}", ""])
        Path(os.environ["PGSERVICEFILE"]).write_text(text)
        seen = by_libpq(service="app"), by_asyncpg(dsn=f"postgresql:{'//'}?service=app")
    print(f"{password!r}, pgpass {pgpass!r}, service {service!r}: libpq {seen[0]}, asyncpg {seen[1]}")
    return seen


try:
    for _ in range(100):
        try:
            admin = psycopg.connect(host=str(folder), port=port, user="postgres", autocommit=True)
            break
        except psycopg.OperationalError:
            time.sleep(0.1)
    admin.execute("CREATE ROLE app LOGIN")
    seen = [
        see("plain", pgpass="plain"),
        see("plain", service="plain"),
        see("a:b\\c", pgpass="a\\:b\\\\c"),
        see("a:b\\c", pgpass="a:b\\c"),
        see("blank ", pgpass="blank "),
        see("p%%w", service="p%%w"),
        see("p%w", service="p%%w"),
    ]
    admin.close()
finally:
    server.send_signal(2)  # a fast shutdown
    server.wait()
refused = 'password authentication failed for user "app"'
assert seen[:2] == [("in", "in")] * 2
assert seen[2] == seen[4] == seen[5] == ("in", refused)
assert seen[3] == seen[6] == (refused, "in")
END
venv/bin/python see.py
