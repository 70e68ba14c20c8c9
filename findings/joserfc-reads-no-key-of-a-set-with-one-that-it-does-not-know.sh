#!/usr/bin/env bash
# joserfc 1.8.0 and Authlib 1.9.10: one further key in a JWKS ends the check of tokens that another key of the set has signed.
# Seen: a set of two keys, and a token by the first, whose `kid` it names. Where the second is on a Brainpool curve ("crv": "BP-256"),
# KeySet.import_key_set of joserfc ends with KeyError; where its `use` is neither "sig" nor "enc", or its `key_ops`
# hold an operation of its own, with KeyParameterError (RFC 7517 allows further values of both). The deprecated authlib.jose ends with
# KeyError where the second is a post-quantum key ("kty": "AKP"), which joserfc passes over. PyJWT 2.15.1, jwcrypto 1.6.1
# and jose 6.2.18 check the token with each of these sets.
# Guess: who needs one key of a set passes over the others, as RFC 7517 (section 5) asks. Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check joserfc==1.8.0 jwcrypto==1.6.1 authlib==1.9.10 pyjwt==2.15.1 cryptography==50.0.2
npm install --silent --no-fund --no-audit jose@6.2.18
cat >see.py <<'END'
import base64
import json
import logging
import subprocess
import warnings

import jwt as pyjwt
from cryptography.hazmat.primitives.asymmetric import ec, mldsa
from joserfc import jwt as joserfc
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet
from jwcrypto import jwk, jwt

warnings.simplefilter("ignore")
logging.disable()

from authlib.jose import JsonWebKey, JsonWebToken


def text(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


key = ECKey.generate_key("P-256", {"kid": "signs", "use": "sig", "alg": "ES256"})
public = key.as_dict(private=False)
token = joserfc.encode({"alg": "ES256", "kid": "signs"}, {"sub": "app"}, key)
brainpool = ec.generate_private_key(ec.BrainpoolP256R1()).public_key().public_numbers()
second = ECKey.generate_key("P-256").as_dict(private=False)
further = {
    "another of its kind": second,
    "Brainpool": {"kty": "EC", "crv": "BP-256", "x": text(brainpool.x.to_bytes(32)), "y": text(brainpool.y.to_bytes(32))},
    "post-quantum": {"kty": "AKP", "alg": "ML-DSA-44", "pub": text(mldsa.MLDSA44PrivateKey.generate().public_key().public_bytes_raw())},
    "use of its own": {**second, "use": "tls"},
    "operation of its own": {**second, "key_ops": ["verify", "attest"]},
}
sets = {name: {"keys": [public, {**other, "kid": "further"}]} for name, other in further.items()}
readers = {
    "joserfc": lambda keys: joserfc.decode(token, KeySet.import_key_set(keys)).claims,
    "jwcrypto": lambda keys: json.loads(jwt.JWT(jwt=token, key=jwk.JWKSet.from_json(json.dumps(keys))).claims),
    "authlib.jose": lambda keys: JsonWebToken(["ES256"]).decode(token, JsonWebKey.import_key_set(keys)),
    "PyJWT": lambda keys: pyjwt.decode(token, pyjwt.PyJWKSet.from_dict(keys)["signs"], ["ES256"]),
}
refused = {}
for name, keys in sets.items():
    for reader, read in readers.items():
        try:
            assert read(keys) == {"sub": "app"}
        except (KeyError, JoseError) as error:
            refused.setdefault(name, {})[reader] = f"{type(error).__name__}: {error}"
done = subprocess.run(["node", "see.mjs"], input=json.dumps([token, sets]), capture_output=True, text=True, check=True, timeout=60)
print("jose:", done.stdout.strip())
for name in sets:
    print(f"{name}: {refused.get(name, 'all read it')}")
assert json.loads(done.stdout) == dict.fromkeys(sets, {"sub": "app"})
errors = {name: {reader: error.split(":")[0] for reader, error in by.items()} for name, by in refused.items()}
assert errors == {
    "Brainpool": {"joserfc": "KeyError"},
    "post-quantum": {"authlib.jose": "KeyError"},
    "use of its own": {"joserfc": "KeyParameterError"},
    "operation of its own": {"joserfc": "KeyParameterError"},
}
END
cat >see.mjs <<'END'
import fs from "node:fs";
import { createLocalJWKSet, jwtVerify } from "jose";

const [token, sets] = JSON.parse(fs.readFileSync(0));
const seen = {};
for (const [name, keys] of Object.entries(sets)) seen[name] = (await jwtVerify(token, createLocalJWKSet(keys))).payload;
console.log(JSON.stringify(seen));
END
venv/bin/python -W ignore see.py
