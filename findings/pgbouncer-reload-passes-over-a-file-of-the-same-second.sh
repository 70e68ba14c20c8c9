#!/usr/bin/env bash
# pgbouncer 1.18.0 (Debian 12) before PostgreSQL 16 (pgserver 0.1.4): RELOAD does not read an auth_file that was written in place within the
# second in which it was read before, if its length is the same.
# Seen: the password in the file is another one of the same length, RELOAD is answered RELOAD, also the second time, and the new
# password is refused with `SASL authentication failed`; a file that takes the place of the old one, with the very same time and length, is
# read. Verifiers have one length, so a script that sets a password right after pgbouncer started is met by it. Guess: RELOAD reads the file.
# Ends with 0 where that is still so. Needs Debian 12 with its package lists.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check pgserver==0.1.4 psycopg==3.3.9 psycopg-binary==3.3.9
for package in pgbouncer=1.18.0-1+deb12u1 libevent-2.1-7 libc-ares2; do
    apt-get download -q "$package" >/dev/null 2>&1
done
for file in *.deb; do dpkg -x "$file" root; done
cat >see.py <<'END'
import glob
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


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def let_in(password):
    try:
        psycopg.connect(host="127.0.0.1", port=pooler_port, user="app", dbname="postgres", password=password).close()
    except psycopg.OperationalError as error:
        return str(error).rpartition("FATAL:")[2].strip() or str(error).strip()
    return "in"


def waited_for(connect):
    for _ in range(100):
        try:
            return connect()
        except psycopg.OperationalError:
            time.sleep(0.1)
    raise SystemExit("it did not start")


def reload():
    with psycopg.connect(
        host="127.0.0.1", port=pooler_port, user="console", password="c", dbname="pgbouncer", autocommit=True
    ) as console:
        return psycopg.ClientCursor(console).execute("RELOAD").statusmessage


pooler_port = free_port()
place = folder.resolve()
users = place / "users.txt"
users.write_text('"console" "c"\n"app" "old-word"\n')
(place / "ini").write_text(
    f"[databases]\n* = host=127.0.0.1 port={port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {pooler_port}\n"
    f"unix_socket_dir =\nauth_type = scram-sha-256\nauth_file = {users}\nadmin_users = console\n"
)
for path in (users, place / "ini"):
    path.chmod(0o644)
libraries = ":".join(glob.glob(str(Path("root/usr/lib/*-linux-gnu").resolve())))
pooler = None
try:
    admin = waited_for(lambda: psycopg.connect(host=str(place), port=port, user="postgres", autocommit=True))
    admin.execute("CREATE ROLE app LOGIN PASSWORD 'old-word'")
    pooler = subprocess.Popen(
        [Path("root/usr/sbin/pgbouncer").resolve(), "-q", place / "ini"],
        env={**os.environ, "LD_LIBRARY_PATH": libraries}, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, **who,
    )
    waited_for(
        lambda: psycopg.connect(host="127.0.0.1", port=pooler_port, user="app", dbname="postgres", password="old-word")
    ).close()
    admin.execute("ALTER ROLE app PASSWORD 'new-word'")
    before = users.stat().st_mtime_ns
    text = users.read_text().replace("old-word", "new-word")
    users.write_text(text)
    os.utime(users, ns=(before, before))  # as if it were still that second
    in_place = (reload(), reload(), let_in("new-word"))
    other = place / "other.txt"
    other.write_text(text)
    other.chmod(0o644)
    os.utime(other, ns=(before, before))
    other.rename(users)
    replaced = (reload(), let_in("new-word"))
    admin.close()
finally:
    if pooler is not None:
        pooler.terminate()
        pooler.wait()
    server.terminate()
    server.wait()
print("written in place:", in_place, "| replaced:", replaced)
assert in_place == ("RELOAD", "RELOAD", "SASL authentication failed")
assert replaced == ("RELOAD", "in")
END
venv/bin/python see.py
