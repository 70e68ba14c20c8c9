#!/usr/bin/env bash
# paseto 4.0.1 and 3.1.4 of npm with pyseto 1.10.0: since version 4 a token without an end is refused, and none is made.
# Seen: paseto 3.1.4 and pyseto put no "exp" into a token unless they are asked to, and read tokens without one. paseto 4.0.1 refuses each of these with
# `Missing required "exp" claim`, so that a token which is kept as an API key ends with the update of the package. The other way round it
# puts an "exp" in an hour into each token: what a service with version 4 hands out is read by the other two for an hour, and by none later,
# where the same call gave a token without an end before. With allowNonExpiring: true and nonExpiring: true all is as it was; a token with an
# "exp" goes both ways. Guess: what a token leaves out has no effect, and an update that ends tokens is asked for. Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check pyseto==1.10.0
npm install --silent --no-fund --no-audit paseto@4.0.1
npm install --prefix=before --silent --no-fund --no-audit paseto@3.1.4
cat >see.mjs <<'END'
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { LocalProtocol } from "paseto";
import { DecryptFactory, EncryptFactory, ImportKeyFactory } from "paseto/v3/local";

const { V3 } = createRequire(new URL("before/", import.meta.url))("paseto");
const after = new LocalProtocol(DecryptFactory, EncryptFactory, ImportKeyFactory);
const { key, encrypt, read, hours, lenient } = JSON.parse(readFileSync(0, "utf8"));
const [old, current] = [Buffer.from(key, "hex"), await after.ImportKey("k3.local." + Buffer.from(key, "hex").toString("base64url"))];
const now = new Date(Date.now() + (hours ?? 0) * 3600000);
if (encrypt) {
  const made = [await V3.encrypt(encrypt, old), await after.Encrypt(current, encrypt, lenient ? { nonExpiring: true } : {})];
  console.log(JSON.stringify(made));
} else {
  const options = { now, ...(lenient ? { allowNonExpiring: true } : {}) };
  const calls = [V3.decrypt(read, old, { now }), after.Decrypt(current, read, options).then(({ claims }) => claims)];
  console.log(JSON.stringify(await Promise.all(calls.map((one) => one.then(({ sub }) => sub, (error) => error.message)))));
}
END
cat >see.py <<'END'
import json
import os
import subprocess

import pyseto

secret = os.urandom(32)
key = pyseto.Key.new(3, "local", secret)


def node(**given):
    """What paseto 3.1.4 and 4.0.1 make of it."""
    text = json.dumps({"key": secret.hex(), **given})
    return json.loads(subprocess.run(["node", "see.mjs"], input=text, capture_output=True, text=True, check=True, timeout=60).stdout)


def end(token):
    return "exp" in pyseto.decode(key, token, deserializer=json).payload


of_python = pyseto.encode(key, {"sub": "app"}).decode()
ending = pyseto.encode(key, {"sub": "app"}, exp=3600).decode()
before, after = node(encrypt={"sub": "app"})
_, endless = node(encrypt={"sub": "app"}, lenient=True)
ends = [end(token) for token in (of_python, before, after, endless)]
seen = {
    "of pyseto": node(read=of_python),
    "of 3.1.4": node(read=before),
    "of 4.0.1": node(read=after),
    "of 4.0.1, in two hours": node(read=after, hours=2),
    "of 3.1.4, in two hours": node(read=before, hours=2, lenient=True),
    "nonExpiring of 4.0.1": node(read=endless, lenient=True),
    "of pyseto with an end": node(read=ending),
}
print("has an end:", dict(zip(["pyseto", "3.1.4", "4.0.1", "4.0.1 nonExpiring"], ends, strict=True)))
for name, one in seen.items():
    print(f"{name}: {one}")
both, missing = ["app", "app"], ["app", 'Missing required "exp" claim']
assert ends == [False, False, True, False]
assert list(seen.values()) == [missing, missing, both, ["token is expired", "Token has expired"], both, both, both]
END
venv/bin/python see.py
