#!/usr/bin/env bash
# argon2 0.45.1 of npm with argon2-cffi 25.1.0, libpass 1.9.4 and PyNaCl 1.6.2 of PyPI, sodium-native 5.1.0 and hash-wasm 4.13.0 of npm: Python refuses the
# right password of a user who was enrolled in Node.
# Seen: argon2 of npm writes the parameters as m, p, t; its version 0.44.0 and all others here have m, t, p. argon2-cffi says "Decoding failed", which is
# not its error for a wrong password, libpass "malformed argon2 hash", and PyNaCl and sodium-native, which are libsodium, say that the password is wrong.
# argon2 of npm and hash-wasm read both orders, so all is well until the service in Python. With p put behind t the same hash is read by all, since the
# order is no part of what is hashed. Guess: a hash of Argon2 is one for all that know Argon2. Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check argon2-cffi==25.1.0 libpass==1.9.4 PyNaCl==1.6.2
npm install --silent --no-fund --no-audit argon2@0.45.1 hash-wasm@4.13.0 sodium-native@5.1.0
npm install --prefix=before --silent --no-fund --no-audit argon2@0.44.0
cat >see.js <<'END'
const argon2 = require("argon2");
const before = require("./before/node_modules/argon2");
const sodium = require("sodium-native");
const { argon2Verify } = require("hash-wasm");

const inSodium = (hash) => {
  const room = Buffer.alloc(sodium.crypto_pwhash_STRBYTES);
  room.write(hash);
  return sodium.crypto_pwhash_str_verify(room, Buffer.from("hush"));
};
const main = async () => {
  const { hashes } = JSON.parse(require("fs").readFileSync(0, "utf8"));
  if (!hashes) return [await argon2.hash("hush"), await before.hash("hush")];
  const one = async (hash) => ({
    argon2: await argon2.verify(hash, "hush"),
    "hash-wasm": await argon2Verify({ password: "hush", hash }),
    "sodium-native": inSodium(hash),
  });
  return Promise.all(hashes.map(one));
};
main().then((seen) => console.log(JSON.stringify(seen)));
END
cat >see.py <<'END'
import json
import re
import subprocess

import argon2
import nacl.exceptions
import nacl.pwhash
from passlib.hash import argon2 as libpass

ERRORS = (argon2.exceptions.VerificationError, nacl.exceptions.InvalidkeyError, ValueError)


def node(**given):
    return json.loads(subprocess.run(["node", "see.js"], input=json.dumps(given), capture_output=True, text=True, check=True, timeout=120).stdout)


def attempt(verify):
    try:
        return verify()
    except ERRORS as error:
        return f"{type(error).__name__}: {error}"


of_node, of_node_before = node()
hashes = {
    "argon2 of npm": of_node,
    "argon2 of npm, put in order": re.sub(r",(p=\d+),(t=\d+)", r",\2,\1", of_node),
    "argon2 0.44.0 of npm": of_node_before,
    "argon2-cffi": argon2.PasswordHasher().hash("hush"),
}
results = {}
for (maker, one), seen in zip(hashes.items(), node(hashes=list(hashes.values())), strict=True):
    seen["argon2-cffi"] = attempt(lambda: argon2.PasswordHasher().verify(one, "hush"))
    seen["libpass"] = attempt(lambda: libpass.verify("hush", one))
    seen["PyNaCl"] = attempt(lambda: nacl.pwhash.verify(one.encode(), b"hush"))
    results[maker] = seen
    print(f"{maker} ({one.split('$')[3]}), right password: {seen}")
assert re.fullmatch(r"\$argon2id\$v=19\$m=\d+,p=\d+,t=\d+\$.*", of_node)
good = dict.fromkeys(("argon2", "hash-wasm", "sodium-native", "argon2-cffi", "libpass", "PyNaCl"), True)
refused = {"sodium-native": False, "argon2-cffi": "VerificationError: Decoding failed", "libpass": "ValueError: malformed argon2 hash"}
wrong = {"PyNaCl": "InvalidkeyError: Wrong password"}
assert results == {"argon2 of npm": good | refused | wrong} | dict.fromkeys(list(hashes)[1:], good)
END
venv/bin/python see.py
