#!/usr/bin/env bash
# Authlib 1.9.10 (authlib.jose, deprecated): of about one in 128 P-256 keys it writes a JWK that PyJWT refuses, under a `kid` that no other computes.
# Seen: where a coordinate of the public key begins with a zero byte, ECKey.as_dict writes 31 bytes instead of the 32 that RFC 7518 (6.2.1.2) asks for.
# PyJWT 2.15.1 then refuses the key ("Coords should be 32 bytes"), and with the whole JWKS where there is no other key in it. jose 6.2.18,
# joserfc 1.8.0 and jwcrypto 1.6.1 read such a key and check tokens with it. The `kid` that Authlib puts in is the thumbprint of what it
# wrote: joserfc and jwcrypto compute another one for the same key. Of 2,560 new keys 20 are so on average; the other keys are
# written alike by all. Guess: a key is written alike whatever its bytes. Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check authlib==1.9.10 joserfc==1.8.0 jwcrypto==1.6.1 pyjwt==2.15.1 cryptography==50.0.2
npm install --silent --no-fund --no-audit jose@6.2.18
cat >see.py <<'END'
import base64
import json
import subprocess

import jwt as pyjwt
from authlib.jose import ECKey
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from joserfc import jwk as joserfc
from joserfc import jwt as joserfc_jwt
from jwcrypto import jwk, jwt


def pem(key):
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def is_short(key):
    numbers = key.public_key().public_numbers()
    return min(numbers.x, numbers.y) < 1 << 248 <= max(numbers.x, numbers.y)


def size(coordinate):
    return len(base64.urlsafe_b64decode(coordinate + "=="))


new = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2560)]
short = [key for key in new if is_short(key)]
print(f"of {len(new)} keys {len(short)} have a coordinate that begins with a zero byte")
assert 2 < len(short) < 60


def see(key):
    """How Authlib writes a key, whether PyJWT reads it, and whether its `kid` is the thumbprint that others compute."""
    written = ECKey.import_key(pem(key)).as_dict(is_private=False)
    sizes = sorted(size(written[name]) for name in "xy")
    try:
        read = pyjwt.PyJWKSet.from_dict({"keys": [written]}).keys[0].key_id
    except pyjwt.PyJWTError:
        try:
            read = pyjwt.PyJWK.from_dict(written, algorithm="ES256").key_id
        except pyjwt.PyJWTError as error:
            read = str(error)
    token = pyjwt.encode({"sub": "app"}, pem(key), "ES256")
    assert joserfc_jwt.decode(token, joserfc.ECKey.import_key(written), algorithms=["ES256"]).claims == {"sub": "app"}
    assert json.loads(jwt.JWT(jwt=token, key=jwk.JWK(**written)).claims) == {"sub": "app"}
    thumbprints = {joserfc.import_key(pem(key), "EC").thumbprint(), jwk.JWK.from_pem(pem(key)).thumbprint()}
    done = subprocess.run(["node", "see.mjs"], input=json.dumps([token, written]), capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(done.stdout) == {"sub": "app"}
    assert len(thumbprints) == 1
    return sizes, read == written["kid"] or read, written["kid"] in thumbprints


whole = next(key for key in new if not is_short(key))
seen_short, seen_whole = [see(key) for key in short[:3]], see(whole)
print("such a key:", seen_short[0])
print("another:", seen_whole)
assert all(seen == ([31, 32], "Coords should be 32 bytes for curve P-256", False) for seen in seen_short)
assert seen_whole == ([32, 32], True, True)
END
cat >see.mjs <<'END'
import fs from "node:fs";
import { importJWK, jwtVerify } from "jose";

const [token, key] = JSON.parse(fs.readFileSync(0));
console.log(JSON.stringify((await jwtVerify(token, await importJWK(key, "ES256"))).payload));
END
venv/bin/python -W ignore see.py
