#!/usr/bin/env bash
# fernet 0.4.0 of npm with cryptography 50.0.2: what Python encrypted can be read in Node for a minute, and no longer.
# Seen: a token of 20 seconds is read, one of 61 is "Invalid Token: TTL", since a Token has a time to live of 60 seconds if none is given; Python
# reads it at any age. With ttl: 0 Node reads it as well. A test that encrypts and reads at once passes, and what was stored is refused
# later. A secret that is not UTF-8 cannot be read in Node with either. Guess: without a ttl there is no limit, as in Python.
# Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check cryptography==50.0.2
npm install --silent --no-fund --no-audit fernet@0.4.0
cat >see.js <<'END'
const fernet = require("fernet");
const { key, tokens } = JSON.parse(require("fs").readFileSync(0, "utf8"));
const read = (token, more) => {
  try {
    return new fernet.Token({ secret: new fernet.Secret(key), token, ...more }).decode();
  } catch (error) {
    return String(error);
  }
};
console.log(JSON.stringify(tokens.map((token) => [read(token, {}), read(token, { ttl: 0 })])));
END
cat >see.py <<'END'
import json
import subprocess
import time

from cryptography.fernet import Fernet

key = Fernet.generate_key()
now = int(time.time())
tokens = [Fernet(key).encrypt_at_time(b"hush", now - age) for age in (20, 61, 86400)]
tokens.append(Fernet(key).encrypt(b"\xff\xfe\xfd"))
given = json.dumps({"key": key.decode(), "tokens": [token.decode() for token in tokens]})
done = subprocess.run(["node", "see.js"], input=given, capture_output=True, text=True, check=True)
seen = json.loads(done.stdout)
for age, one in zip(("20 s", "61 s", "a day", "bytes"), seen, strict=True):
    print(f"{age}: {one[0]!r}, with ttl 0: {one[1]!r}")
assert [Fernet(key).decrypt(token) for token in tokens] == [b"hush"] * 3 + [b"\xff\xfe\xfd"]
assert seen[0] == ["hush", "hush"]
assert seen[1] == seen[2] == ["Error: Invalid Token: TTL", "hush"]
assert seen[3] == ["Error: Malformed UTF-8 data"] * 2
END
venv/bin/python see.py
