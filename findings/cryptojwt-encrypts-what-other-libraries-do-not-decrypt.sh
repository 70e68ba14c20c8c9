#!/usr/bin/env bash
# cryptojwt 1.11.0 with jwcrypto 1.6.1 and joserfc 1.8.0 (Python), jose 6.2.18 and node-jose 2.2.0 of npm: a secret that cryptojwt encrypts with A256GCM
# is refused by most other libraries, and with ECDH-ES+A256KW by all.
# Seen: for AES-GCM cryptojwt takes an initialization vector of 16 bytes, where RFC 7518 wants 12. jwcrypto reads it, joserfc, jose and node-jose refuse it.
# For ECDH-ES+A256KW it derives another key than the others, so that none reads what it wrote, and it reads nothing of theirs. With itself it agrees each
# time, which is why a test with one library passes. RSA-OAEP-256 and ECDH-ES with A256CBC-HS512 or A128CBC-HS256 go both ways.
# Guess: two libraries of JOSE read each other's JWE. Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check cryptojwt==1.11.0 jwcrypto==1.6.1 joserfc==1.8.0 cryptography==50.0.2
npm install --silent --no-fund --no-audit jose@6.2.18 node-jose@2.2.0
cat >see.mjs <<'END'
import { readFileSync } from "node:fs";
import * as jose from "jose";
import nodeJose from "node-jose";

const { jwk, publicJwk, alg, enc, token } = JSON.parse(readFileSync(0, "utf8"));
const key = await jose.importJWK(jwk, alg);
const otherKey = await nodeJose.JWK.asKey(jwk);
const readers = {
  jose: async () => (await jose.compactDecrypt(token, key)).plaintext,
  "node-jose": async () => (await nodeJose.JWE.createDecrypt(otherKey).decrypt(token)).payload,
};
const seen = { read: {} };
for (const [name, read] of Object.entries(readers)) {
  seen.read[name] = await read().then((plain) => Buffer.from(plain).toString(), () => "refused");
}
const plain = Buffer.from("hush");
seen.jose = await new jose.CompactEncrypt(plain).setProtectedHeader({ alg, enc }).encrypt(await jose.importJWK(publicJwk, alg));
console.log(JSON.stringify(seen));
END
cat >see.py <<'END'
import base64
import json
import subprocess

from cryptojwt.jwe.jwe import JWE, factory
from cryptojwt.jwk.jwk import key_from_jwk_dict
from joserfc import jwe as joserfc_jwe
from joserfc.jwk import import_key
from jwcrypto import jwe, jwk

KEYS = {"RSA": jwk.JWK.generate(kty="RSA", size=2048, kid="app"), "EC": jwk.JWK.generate(kty="EC", crv="P-256", kid="app")}


def attempt(call):
    try:
        return call().decode()
    except Exception:
        return "refused"


def see(kind, alg, enc):
    """Return the bytes of the initialization vector of cryptojwt, what each makes of its token, and what cryptojwt makes of one of jose."""
    key = KEYS[kind]
    private, public = json.loads(key.export()), json.loads(key.export_public())
    own = [key_from_jwk_dict(private)]
    token = JWE(b"hush", alg=alg, enc=enc).encrypt(keys=own)

    def by_jwcrypto():
        message = jwe.JWE()
        message.deserialize(token, key)
        return message.payload

    given = json.dumps({"jwk": private, "publicJwk": public, "alg": alg, "enc": enc, "token": token})
    node = json.loads(subprocess.run(["node", "see.mjs"], input=given, capture_output=True, text=True, check=True, timeout=60).stdout)
    seen = {
        "cryptojwt": attempt(lambda: factory(token, alg=alg, enc=enc).decrypt(token, keys=own)),
        "jwcrypto": attempt(by_jwcrypto),
        "joserfc": attempt(lambda: joserfc_jwe.decrypt_compact(token, import_key(private), algorithms=[alg, enc]).plaintext),
        **node["read"],
    }
    back = attempt(lambda: factory(node["jose"], alg=alg, enc=enc).decrypt(node["jose"], keys=own))
    vector = token.split(".")[2]
    return len(base64.urlsafe_b64decode(vector + "==")), seen, back


results = {}
for one in (("RSA", "RSA-OAEP-256", "A256GCM"), ("EC", "ECDH-ES", "A256GCM"), ("EC", "ECDH-ES+A256KW", "A128CBC-HS256"),
            ("RSA", "RSA-OAEP-256", "A256CBC-HS512"), ("EC", "ECDH-ES", "A128CBC-HS256")):
    results[one[1:]] = see(*one)
    vector, seen, back = results[one[1:]]
    print(f"{one[1]} with {one[2]}: a vector of {vector} bytes; read by {seen}; cryptojwt reads of jose: {back}")

names = ("cryptojwt", "jwcrypto", "joserfc", "jose", "node-jose")
everyone = dict.fromkeys(names, "hush")
gcm = everyone | dict.fromkeys(("joserfc", "jose", "node-jose"), "refused")
alone = dict.fromkeys(names, "refused") | {"cryptojwt": "hush"}
assert results == {
    ("RSA-OAEP-256", "A256GCM"): (16, gcm, "hush"),
    ("ECDH-ES", "A256GCM"): (16, gcm, "hush"),
    ("ECDH-ES+A256KW", "A128CBC-HS256"): (16, alone, "refused"),
    ("RSA-OAEP-256", "A256CBC-HS512"): (16, everyone, "hush"),
    ("ECDH-ES", "A128CBC-HS256"): (16, everyone, "hush"),
}
END
venv/bin/python see.py
