#!/usr/bin/env bash
# PyJWT 2.15.1, Authlib 1.9.10, joserfc 1.8.0, jwcrypto 1.6.1 (Python) and jose 6.2.18 of npm: a signing key under the new name of its algorithm
# is not there for PyJWT.
# Seen: RFC 9864 gives EdDSA over Curve25519 the name "Ed25519" and calls "EdDSA" deprecated; jose signs under either. Of a JWKS with such a key and
# an older one PyJWKSet holds the older alone, without a word, and says of the token "keyset has no key for kid", as of a key that has not been fetched
# yet, so that one looks for the fault in a cache. A key without "alg" gets "Token algorithm 'Ed25519' does not match
# the key's algorithm 'EdDSA'", also where "Ed25519" is among the algorithms that are allowed; Authlib refuses it with an error without a text.
# joserfc and jwcrypto take the token. Under the name "EdDSA" the same key is taken by all four. Guess: either name is good for a key that has the
# curve in it, or the set says which key it left out. Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check pyjwt==2.15.1 authlib==1.9.10 joserfc==1.8.0 jwcrypto==1.6.1 cryptography==50.0.2
npm install --silent --no-fund --no-audit jose@6.2.18
cat >see.mjs <<'END'
import { exportJWK, generateKeyPair, SignJWT } from "jose";

const [pair, older] = [await generateKeyPair("Ed25519"), await generateKeyPair("ES256")];
const was = { ...(await exportJWK(older.publicKey)), kid: "old", alg: "ES256" };
const made = {};
for (const alg of ["Ed25519", "EdDSA"]) {
  const key = { ...(await exportJWK(pair.publicKey)), kid: "new", alg };
  const token = await new SignJWT({ sub: "app" }).setProtectedHeader({ alg, kid: "new" }).sign(pair.privateKey);
  made[alg] = { token, set: { keys: [key, was] } };
}
console.log(JSON.stringify(made));
END
cat >see.py <<'END'
import json
import subprocess
import warnings

warnings.simplefilter("ignore")
import authlib.jose
import joserfc.jwk
import joserfc.jwt
import jwcrypto.jwk
import jwcrypto.jwt
import jwt

ALLOWED = ["Ed25519", "EdDSA", "ES256"]


def said(call):
    try:
        return call()["sub"]
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def by_jwcrypto(token, keys):
    held = jwcrypto.jwt.JWT(jwt=token, key=jwcrypto.jwk.JWKSet.from_json(json.dumps(keys)), algs=ALLOWED)
    return json.loads(held.claims)


def see(token, keys):
    held = jwt.PyJWKSet.from_dict(keys)
    bare = {name: value for name, value in keys["keys"][0].items() if name != "alg"}
    return {
        "held by PyJWT": [key.key_id for key in held.keys],
        "PyJWT": said(lambda: jwt.decode(token, held["new"], algorithms=ALLOWED)),
        "PyJWT, key without alg": said(lambda: jwt.decode(token, jwt.PyJWK(bare), algorithms=ALLOWED)),
        "Authlib": said(lambda: authlib.jose.JsonWebToken(ALLOWED).decode(token, authlib.jose.JsonWebKey.import_key_set(keys))),
        "joserfc": said(lambda: joserfc.jwt.decode(token, joserfc.jwk.KeySet.import_key_set(keys), ALLOWED).claims),
        "jwcrypto": said(lambda: by_jwcrypto(token, keys)),
    }


made = json.loads(subprocess.run(["node", "see.mjs"], capture_output=True, text=True, check=True, timeout=60).stdout)
seen = {name: see(one["token"], one["set"]) for name, one in made.items()}
for name, one in seen.items():
    print(name, *(f"\n  {who}: {what}" for who, what in one.items()))
taken = dict.fromkeys(["PyJWT", "PyJWT, key without alg", "Authlib", "joserfc", "jwcrypto"], "app")
assert seen["EdDSA"] == {"held by PyJWT": ["new", "old"], **taken}
assert seen["Ed25519"] == {
    "held by PyJWT": ["old"],
    "PyJWT": "KeyError: 'keyset has no key for kid: new'",
    "PyJWT, key without alg": "InvalidAlgorithmError: Token algorithm 'Ed25519' does not match the key's algorithm 'EdDSA'",
    "Authlib": "UnsupportedAlgorithmError: unsupported_algorithm: ",
    "joserfc": "app",
    "jwcrypto": "app",
}
END
venv/bin/python see.py
