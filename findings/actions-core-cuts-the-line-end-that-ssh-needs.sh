#!/usr/bin/env bash
# @actions/core 3.0.1 of npm with OpenSSH 9.2: a private key that an action takes as its input is refused by ssh afterwards.
# Seen: getInput() takes blanks and line ends off both ends of a value, if trimWhitespace: false is not given. Written to a file, a key in OpenSSH's
# format then lacks its last line end, and ssh-keygen and ssh-add say "error in libcrypto", as for a damaged key. asyncssh 2.24.1,
# cryptography 50.0.2 and sshpk 1.18.0 read that file, and so does ssh-keygen a key in the format of PEM, so that a check in a library, or an
# older key, does not show it. A password with a blank at an end is another one for the server. For actions that take secrets:
# getInput(name, { trimWhitespace: false }), or end the file with a line end. Guess: a secret is handed over as it was stored.
# Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check asyncssh==2.24.1 cryptography==50.0.2
npm install --silent --no-fund --no-audit @actions/core@3.0.1 sshpk@1.18.0
cat >take.mjs <<'END'
import { writeFileSync } from "node:fs";
import { getInput } from "@actions/core";
import sshpk from "sshpk";

const options = JSON.parse(process.argv[2]);
const key = getInput("ssh-key", options);
writeFileSync("taken", key, { mode: 0o600 });
sshpk.parsePrivateKey(key, "auto");
console.log(JSON.stringify(getInput("password", options)));
END
cat >see.py <<'END'
import json
import os
import subprocess
from pathlib import Path

import asyncssh
from cryptography.hazmat.primitives import serialization


def run(*words, **more):
    return subprocess.run(words, capture_output=True, text=True, timeout=60, env=os.environ | more)


def see(*form, **options):
    """The password that an action gets, and what ssh-keygen says of the key that it gets."""
    Path("key").unlink(missing_ok=True)
    run("ssh-keygen", "-q", "-N", "", "-f", "key", *form).check_returncode()
    stored = Path("key").read_text()
    taken = run("node", "take.mjs", json.dumps(options), **{"INPUT_SSH-KEY": stored, "INPUT_PASSWORD": "pass "})
    taken.check_returncode()
    assert Path("taken").read_text().strip() == stored.strip()
    asyncssh.read_private_key("taken")
    load = serialization.load_ssh_private_key if "-m" not in form else serialization.load_pem_private_key
    load(Path("taken").read_bytes(), None)
    said = run("ssh-keygen", "-y", "-f", "taken")
    seen = json.loads(taken.stdout), said.stderr.strip() or said.stdout.split()[0]
    print(form, options, seen)
    return seen


refused = 'Load key "taken": error in libcrypto'
assert see("-t", "ed25519") == ("pass", refused)
assert see("-t", "rsa") == ("pass", refused)
assert see("-t", "rsa", "-m", "PEM") == ("pass", "ssh-rsa")
assert see("-t", "ed25519", trimWhitespace=False) == ("pass ", "ssh-ed25519")
END
venv/bin/python see.py
