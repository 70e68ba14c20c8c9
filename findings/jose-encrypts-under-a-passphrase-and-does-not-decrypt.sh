#!/usr/bin/env bash
# jose 6.2.18 of npm, joserfc 1.8.0 and jwcrypto 1.6.1: a secret under a passphrase (PBES2) with as many rounds as is advised today is read by none.
# Seen: with 20,000 rounds of PBKDF2 ("p2c") jose encrypts, and says of its own token "PBES2 Count … out is of acceptable bounds". jwcrypto draws
# the line at 16,384, and names a wrong key first: "No recipient matched the provided key"; joserfc reads up to 299,999. With 600,000, the number
# that OWASP advises for HMAC-SHA-256, jose encrypts and none of the three decrypts; the other two refuse to encrypt. By default they take 2,048
# (jose and joserfc) or 8,192 rounds. jose reads it with { maxPBES2Count: 600000 }, jwcrypto after default_max_pbkdf2_iterations of jwcrypto.jwa is
# set; joserfc has no setting. Guess: what is refused when it is read is refused when it is written. Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check joserfc==1.8.0 jwcrypto==1.6.1 cryptography==50.0.2
npm install --silent --no-fund --no-audit jose@6.2.18
cat >see.mjs <<'END'
import { CompactEncrypt, compactDecrypt } from "jose";

const [work, ...more] = process.argv.slice(2);
const passphrase = Buffer.from("correct horse battery staple");
if (work === "encrypt") {
  const made = new CompactEncrypt(Buffer.from("hush")).setProtectedHeader({ alg: "PBES2-HS256+A128KW", enc: "A256GCM" });
  if (more.length) made.setKeyManagementParameters({ p2c: Number(more[0]) });
  console.log(await made.encrypt(passphrase));
} else {
  const options = { keyManagementAlgorithms: ["PBES2-HS256+A128KW"], maxPBES2Count: more[1] && Number(more[1]) };
  const read = compactDecrypt(more[0], passphrase, options);
  console.log(await read.then(({ plaintext }) => new TextDecoder().decode(plaintext), (error) => error.message));
}
END
cat >see.py <<'END'
import json
import subprocess

from joserfc import jwe as joserfc
from joserfc.jwk import OctKey
from joserfc.util import urlsafe_b64decode
from jwcrypto import jwa, jwe, jwk

NAMES = ["PBES2-HS256+A128KW", "A256GCM"]
WORDS = "correct horse battery staple"
header = {"alg": NAMES[0], "enc": NAMES[1]}


def node(*words):
    return subprocess.run(["node", "see.mjs", *map(str, words)], capture_output=True, text=True, check=True).stdout.strip()


def said(call):
    try:
        return call().decode()
    except Exception as error:
        return str(error)


def by_jwcrypto(token):
    held = jwe.JWE()
    held.deserialize(token, jwk.JWK.from_password(WORDS))
    return held.payload


def made_by_joserfc(**more):
    return joserfc.encrypt_compact({**header, **more}, b"hush", OctKey.import_key(WORDS), algorithms=NAMES).encode()


def made_by_jwcrypto(**more):
    return jwe.JWE(b"hush", {**header, **more}, recipient=jwk.JWK.from_password(WORDS)).serialize(compact=True).encode()


def read(token):
    """What jose, joserfc and jwcrypto make of the token."""
    by_joserfc = said(lambda: joserfc.decrypt_compact(token, OctKey.import_key(WORDS), algorithms=NAMES).plaintext)
    return node("decrypt", token), by_joserfc, said(lambda: by_jwcrypto(token)).partition("[")[0]


def rounds(token):
    return json.loads(urlsafe_b64decode(token.partition(".")[0].encode()))["p2c"]


by_default = [rounds(node("encrypt")), rounds(made_by_joserfc().decode())]
own = jwe.JWE(b"hush", json.dumps(header), recipient=jwk.JWK.from_password(WORDS))
by_default.append(json.loads(own.serialize())["header"]["p2c"])
seen = {count: read(node("encrypt", count)) for count in (10000, 16384, 20000, 299999, 600000)}
print(by_default, *(f"\n{count}: {one}" for count, one in seen.items()))
jose = 'JOSE Header "p2c" (PBES2 Count) out is of acceptable bounds'
joserfc_says = "invalid_header_value: 'p2c' in header must be less than 300000"
jwcrypto_says = "No recipient matched the provided key"
assert by_default == [2048, 2048, 8192]
assert seen[10000] == ("hush", "hush", "hush")
assert seen[16384] == (jose, "hush", "hush")
assert seen[20000] == seen[299999] == (jose, "hush", jwcrypto_says)
assert seen[600000] == (jose, joserfc_says, jwcrypto_says)
assert said(lambda: made_by_joserfc(p2c=600000)) == joserfc_says
assert said(lambda: made_by_jwcrypto(p2c=600000)) == "Invalid p2c value, too large"
jwa.default_max_pbkdf2_iterations = 600000
token = node("encrypt", 600000)
assert by_jwcrypto(token) == b"hush" and node("decrypt", token, 600000) == "hush"
END
venv/bin/python see.py
