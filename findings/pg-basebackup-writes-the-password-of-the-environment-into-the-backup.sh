#!/usr/bin/env bash
# PostgreSQL 16 (pgserver 0.1.4): `pg_basebackup -R` writes a password that it was given by the environment, or by a service file, into the backup.
# Seen: with PGPASSWORD set, `pg_basebackup -R` ends with 0, and postgresql.auto.conf of the backup has the password, in the setting primary_conninfo; so it does
# with a password of pg_service.conf, which was kept out of the command line too. With `.pgpass` it writes the file's path instead. In a backup as a tar file the same
# line is in base.tar. So a copy of the data is a copy of the password, and the standby that starts from it tries the old one after a rotation.
# To do: give the password in a `.pgpass` that the standby has too, and look for "password" in postgresql.auto.conf before a backup is handed on.
# Guess: a password that was in no argument gets into no file. Ends with 0 where that is still so.
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
import shutil
import socket
import subprocess
import tarfile
import tempfile
import time
from pathlib import Path

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
PASSWORD = "hush-1234"
plain = {name: value for name, value in os.environ.items() if not name.startswith("PG")} | {"HOME": str(folder)}
where = ["-h", "127.0.0.1", "-p", str(port), "-U", "copier"]


def settings(words, tar=False, **environment):
    """What the backup's primary_conninfo has of the words that hold or name the password."""
    target = Path("backup")
    command = [programs / "pg_basebackup", "-R", "-X", "none", "-w", "-D", target, *words, *(["-F", "t"] if tar else [])]
    subprocess.run(command, check=True, env=plain | environment, stderr=subprocess.DEVNULL)
    if tar:
        with tarfile.open(target / "base.tar") as archive:
            text = archive.extractfile("postgresql.auto.conf").read().decode()
    else:
        text = (target / "postgresql.auto.conf").read_text()
    shutil.rmtree(target)
    (line,) = (line for line in text.splitlines() if line.startswith("primary_conninfo"))
    return [word.replace("''", "") for word in line.split() if word.startswith(("password=", "passfile="))]


try:
    for _ in range(100):
        try:
            admin = psycopg.connect(host=str(folder), port=port, user="postgres", autocommit=True)
            break
        except psycopg.OperationalError:
            time.sleep(0.1)
    admin.execute(f"CREATE ROLE copier LOGIN REPLICATION PASSWORD '{PASSWORD}'")
    admin.close()
    Path("service").write_text(f"[main]\nhost=127.0.0.1\nport={port}\nuser=copier\npassword={PASSWORD}\n")
    Path("passfile").write_text(f"127.0.0.1:{port}:*:copier:{PASSWORD}\n")
    for name in "service", "passfile":
        Path(name).chmod(0o600)
    passfile = str(Path("passfile").resolve())
    seen = {
        "environment": settings(where, PGPASSWORD=PASSWORD),
        "environment, tar": settings(where, tar=True, PGPASSWORD=PASSWORD),
        "service file": settings(["-d", "service=main"], PGSERVICEFILE="service"),
        ".pgpass": settings(where, PGPASSFILE=passfile),
    }
finally:
    server.terminate()
    server.wait()
for name, found in seen.items():
    print(f"{name}: {found}")
assert seen.pop(".pgpass") == [f"passfile={passfile}"]
assert len(seen) == 3 and all(found == [f"password={PASSWORD}"] for found in seen.values())
END
venv/bin/python see.py
