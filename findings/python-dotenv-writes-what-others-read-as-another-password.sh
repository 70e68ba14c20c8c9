#!/usr/bin/env bash
# python-dotenv 1.2.4: what set_key and `dotenv set` write of a backslash or an apostrophe is another password for sh and for Node.
# Seen: a\b is written as 'a\\b', which python-dotenv reads as a\b, and dotenv 18.0.10 for Node, node --env-file and sh as a\\b. it's is
# written as 'it\'s', of which dotenv for Node reads it\'s with the backslash, node --env-file it\, and sh refuses the file for a quote
# that does not end. Without these two characters all read the same. Guess: a .env file that a tool writes means the same to the others, as
# 'it'"'"'s' or "it's" would to most.
# Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check python-dotenv==1.2.4
npm install --silent --no-fund --no-audit dotenv@18.0.10
cat >see.py <<'END'
import subprocess
from pathlib import Path

import dotenv

PARSE = "process.stdout.write(require('dotenv').parse(require('fs').readFileSync('.env')).PW)"


def out(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout if done.returncode == 0 else done.stderr.strip().rpartition(": ")[2]


def see(value):
    """What is in the file, and what python-dotenv, dotenv for Node, node itself and sh read there."""
    Path(".env").write_text("")
    dotenv.set_key(".env", "PW", value)
    seen = (
        Path(".env").read_text().strip(),
        dotenv.dotenv_values(".env")["PW"],
        out("node", "-e", PARSE),
        out("node", "--env-file=.env", "-e", "process.stdout.write(process.env.PW)"),
        out("sh", "-c", '. ./.env; printf %s "$PW"'),
    )
    print(value, *seen, sep="  ")
    return seen


assert see('pa"ss w#rd$') == ("PW='pa\"ss w#rd$'", *['pa"ss w#rd$'] * 4)
assert see(r"a\b") == (r"PW='a\\b'", r"a\b", r"a\\b", r"a\\b", r"a\\b")
written, python, node, node_itself, sh = see("it's")
assert (written, python, node, node_itself) == (r"PW='it\'s'", "it's", r"it\'s", "it\\")
assert "nterminated quoted string" in sh
END
venv/bin/python see.py
