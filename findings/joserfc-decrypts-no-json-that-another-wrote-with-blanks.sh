#!/usr/bin/env bash
# joserfc 1.8.0 with jwcrypto 1.6.1 and jose 6.2.18 of npm: whether it decrypts a JSON JWE depends on how its writer spells JSON.
# Seen: jwcrypto encrypts a secret under the header json.dumps({"alg": …, "enc": …}), with the blanks that json.dumps puts in. decrypt_json of
# joserfc refuses it with "decode_error: " and no word more, as it does for a wrong key of the content. So it is for each document of jose
# whose header has a letter past ASCII, such as a key id "schlüssel". The same header without blanks and in ASCII is read, and so is the compact
# form of each; signatures in JSON are taken in both. RFC 7516 (section 5.2, step 15) computes with the header's bytes as they came. Guess: joserfc
# writes the header that it has parsed out again. Have jwcrypto's header as a dict, or use the compact form. Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check joserfc==1.8.0 jwcrypto==1.6.1 cryptography==50.0.2
npm install --silent --no-fund --no-audit jose@6.2.18
cat >see.mjs <<'END'
import { readFileSync } from "node:fs";
import { CompactEncrypt, FlattenedEncrypt } from "jose";

const { key, kid } = JSON.parse(readFileSync(0, "utf8"));
const header = { alg: "A256KW", enc: "A256GCM", kid };
const made = [];
for (const kind of [FlattenedEncrypt, CompactEncrypt]) {
  made.push(await new kind(Buffer.from("hush")).setProtectedHeader(header).encrypt(Buffer.from(key, "base64url")));
}
console.log(JSON.stringify(made));
END
cat >see.py <<'END'
import json
import subprocess

from joserfc import jwe as joserfc
from joserfc import jws as signatures
from joserfc.jwk import OctKey
from jwcrypto import jwe, jwk, jws

key = OctKey.generate_key(256)
same = jwk.JWK(**key.as_dict())


def said(call):
    try:
        return call()
    except Exception as error:
        return str(error)


def by_jwcrypto(header):
    made = jwe.JWE(b"hush", header, recipient=same)
    return json.loads(made.serialize()), made.serialize(compact=True)


def by_jose(kid):
    given = json.dumps({"key": key.as_dict()["k"], "kid": kid})
    return json.loads(subprocess.run(["node", "see.mjs"], input=given, capture_output=True, text=True, check=True).stdout)


def read(document, compact):
    """What joserfc reads of the JSON form, and of the compact one; jwcrypto reads both."""
    for one in json.dumps(document), compact:
        held = jwe.JWE()
        held.deserialize(one, same)
        assert held.payload == b"hush"
    return said(lambda: joserfc.decrypt_json(document, key).plaintext), said(lambda: joserfc.decrypt_compact(compact, key).plaintext)


def signed():
    made = jws.JWS(b"hush")
    made.add_signature(same, None, json.dumps({"alg": "HS256", "kid": "1"}))
    return signatures.deserialize_json(json.loads(made.serialize()), key, ["HS256"]).payload


header = {"alg": "A256KW", "enc": "A256GCM"}
seen = {
    "json.dumps": read(*by_jwcrypto(json.dumps(header))),
    "without blanks": read(*by_jwcrypto(json.dumps(header, separators=(",", ":")))),
    "a dict": read(*by_jwcrypto(header)),
    "jose, ASCII": read(*by_jose("2026-12")),
    "jose, past ASCII": read(*by_jose("schlüssel")),
}
for name, one in seen.items():
    print(f"{name}: {one}")
refused, good = ("decode_error: ", b"hush"), (b"hush", b"hush")
assert list(seen.values()) == [refused, good, good, good, refused]
assert signed() == b"hush"
END
venv/bin/python see.py
