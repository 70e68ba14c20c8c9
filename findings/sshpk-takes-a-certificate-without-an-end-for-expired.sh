#!/usr/bin/env bash
# sshpk 1.18.0 of npm with OpenSSH's ssh-keygen: an SSH certificate that never ends counts as expired.
# Seen: ssh-keygen -s without -V, and with a beginning but no end, makes a certificate that is valid "forever". For sshpk its validUntil is an
# Invalid Date, so that isExpired() is true from the first second on, and for each time that one may ask about; validUntil.toISOString() raises
# an error. asyncssh 2.24.1 takes the same certificate, and cryptography 50.0.2 gives the largest number of 64 bits as its end.
# Of a certificate with a date as its end all three say the same, before that date and after it. A program that renews what has
# expired renews such a certificate at each run, or refuses who comes with it. Give certificates an end by -V, or look at validUntil
# first: NaN of getTime() is no end. Guess: what has no end has not expired. Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check asyncssh==2.24.1 cryptography==50.0.2
npm install --silent --no-fund --no-audit sshpk@1.18.0
cat >see.cjs <<'END'
const { readFileSync } = require("node:fs");
const sshpk = require("sshpk");

const certificate = sshpk.parseCertificate(readFileSync("key-cert.pub"), "openssh");
const end = certificate.validUntil;
const later = certificate.isExpired(new Date("2035-01-01"));
console.log(JSON.stringify({ expired: certificate.isExpired(), later, end: isNaN(end) ? String(end) : end.toISOString() }));
END
cat >see.py <<'END'
import json
import subprocess
from pathlib import Path

import asyncssh
from cryptography.hazmat.primitives.serialization import load_ssh_public_identity


def run(*words):
    return subprocess.run(words, check=True, capture_output=True, text=True, timeout=60).stdout


def see(*validity):
    """What sshpk, asyncssh and cryptography say of a certificate that was made with these arguments."""
    run("ssh-keygen", "-q", "-s", "ca", "-I", "app", "-n", "app", *validity, "key.pub")
    node = json.loads(run("node", "see.cjs"))
    try:
        asyncssh.read_certificate("key-cert.pub").validate(1, "app")
        valid = True
    except ValueError:
        valid = False
    end = load_ssh_public_identity(Path("key-cert.pub").read_bytes()).valid_before
    print(validity, node, f"asyncssh: valid is {valid}; cryptography: {end}")
    return node, valid, end == 2**64 - 1


for name in ("ca", "key"):
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", name)
no_end = {"expired": True, "later": True, "end": "Invalid Date"}
assert see() == (no_end, True, True)
assert see("-V", "20240101:forever") == (no_end, True, True)
assert see("-V", "20240101Z:20991231Z") == ({"expired": False, "later": False, "end": "2099-12-31T00:00:00.000Z"}, True, False)
assert see("-V", "20240101Z:20240301Z") == ({"expired": True, "later": True, "end": "2024-03-01T00:00:00.000Z"}, False, False)
END
venv/bin/python see.py
