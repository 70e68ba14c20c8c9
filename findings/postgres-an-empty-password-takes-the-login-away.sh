#!/usr/bin/env bash
# PostgreSQL 16 (pgserver 0.1.4) with psycopg 3.3.9: ALTER ROLE ... PASSWORD '' succeeds, and then nobody logs in.
# Seen: the command is done, with a notice that an empty string clears the password; the old password and the empty one are refused,
# and pg_authid has null. A rotation whose new value came out empty (a variable that is not set) reports success. Guess: an error, or
# the old password stays.
# Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check pgserver==0.1.4 psycopg==3.3.9 psycopg-binary==3.3.9
cat >see.py <<'END'
import importlib.util
import os
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg

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


def login(password):
    try:
        psycopg.connect(host="127.0.0.1", port=port, user="app", dbname="postgres", password=password).close()
    except psycopg.OperationalError as error:
        return str(error).rpartition("FATAL:")[2].strip() or str(error).strip()
    return "in"


try:
    for _ in range(100):
        try:
            admin = psycopg.connect(host=str(folder.resolve()), port=port, user="postgres", autocommit=True)
            break
        except psycopg.OperationalError:
            time.sleep(0.1)
    said = []
    admin.add_notice_handler(lambda notice: said.append(notice.message_primary))
    admin.execute("CREATE ROLE app LOGIN PASSWORD 'old'")
    before = login("old")
    status = admin.execute("ALTER ROLE app PASSWORD ''").statusmessage
    (kept,) = admin.execute("SELECT rolpassword FROM pg_authid WHERE rolname = 'app'").fetchone()
    after = login("old")
    admin.close()
finally:
    server.terminate()
    server.wait()
print("before:", before, "| answer:", status, said, "| kept:", kept, "| after:", after)
assert before == "in"
assert status == "ALTER ROLE"
assert said == ["empty string is not a valid password, clearing password"]
assert kept is None
assert after == 'password authentication failed for user "app"'
END
venv/bin/python see.py
