#!/usr/bin/env bash
# OpenSSH 9.2 (ssh-keygen), paramiko 5.1.0, cryptography 50.0.2, asyncssh 2.24.1, and ssh2 1.17.0 and sshpk 1.18.0 of npm: ssh-keygen encrypts a private
# key by one of several ciphers, and which library reads it depends on that.
# Seen: ssh-keygen -Z aes256-gcm@openssh.com makes a key that paramiko leaves with KeyError: 'mode', for the right passphrase and for a wrong one, and
# sshpk with "excess bytes left after key"; ssh, asyncssh, cryptography and ssh2 read it. One of chacha20-poly1305@openssh.com is "Invalid key" for
# paramiko, as under a wrong passphrase, "Unsupported cipher" for cryptography, and a TypeError about an initialization vector for ssh2. Of
# aes128-cbc cryptography alone says no. aes256-ctr, which ssh-keygen takes by default, is read by all. ssh-keygen -p -Z aes256-ctr brings a key back.
# Guess: an error names the cipher, and a wrong passphrase has another error. Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check paramiko==5.1.0 cryptography==50.0.2 asyncssh==2.24.1 bcrypt==5.0.0
npm install --silent --no-fund --no-audit ssh2@1.17.0 sshpk@1.18.0
cat >see.cjs <<'END'
const { readFileSync } = require("node:fs");
const sshpk = require("sshpk");
const { utils } = require("ssh2");

const [file, passphrase] = process.argv.slice(2);
const said = (call) => {
  try {
    const made = call();
    return made instanceof Error ? String(made) : "read";
  } catch (error) {
    return String(error);
  }
};
const content = readFileSync(file);
console.log(JSON.stringify([said(() => utils.parseKey(content, passphrase)), said(() => sshpk.parsePrivateKey(content, "ssh", { passphrase }))]));
END
cat >see.py <<'END'
import json
import subprocess
from pathlib import Path

import asyncssh
import paramiko
from cryptography.hazmat.primitives.serialization import load_ssh_private_key


def run(*words):
    return subprocess.run(words, check=True, capture_output=True, text=True, timeout=60).stdout


def said(call, *arguments, **more):
    try:
        call(*arguments, **more)
        return "read"
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def read(name, passphrase="hush"):
    """What paramiko, cryptography, ssh2 and sshpk say of the file; ssh-keygen and asyncssh read it."""
    content = Path(name).read_bytes()
    if passphrase == "hush":
        run("ssh-keygen", "-y", "-P", passphrase, "-f", name)
        asyncssh.import_private_key(content, passphrase)
    by_paramiko = said(paramiko.Ed25519Key, filename=name, password=passphrase)
    by_cryptography = said(load_ssh_private_key, content, passphrase.encode())
    seen = [by_paramiko, by_cryptography, *json.loads(run("node", "see.cjs", name, passphrase))]
    print(name, "by", passphrase, seen)
    return seen


def make(cipher):
    name = cipher.partition("@")[0]
    run("ssh-keygen", "-q", "-t", "ed25519", "-Z", cipher, "-N", "hush", "-f", name)
    return name


gcm, chacha, cbc, ctr = map(make, ("aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com", "aes128-cbc", "aes256-ctr"))
of_sshpk = "KeyParseError: Failed to parse (unnamed) as a valid ssh format key: excess bytes left after key"
unsupported = "UnsupportedAlgorithm: Unsupported cipher: b'{}'"
assert read(ctr) == ["read"] * 4
assert read(gcm) == ["KeyError: 'mode'", "read", "read", of_sshpk]
assert read(gcm, "wrong")[0] == "KeyError: 'mode'"
of_chacha = read(chacha)
assert of_chacha[:2] == ["SSHException: Invalid key", unsupported.format("chacha20-poly1305@openssh.com")]
assert of_chacha[2:] == ["TypeError: Invalid initialization vector", of_sshpk]
assert read(chacha, "wrong")[0] == read(ctr, "wrong")[0] == "SSHException: Invalid key"
assert read(cbc) == ["read", unsupported.format("aes128-cbc"), "read", "read"]
run("ssh-keygen", "-p", "-Z", "aes256-ctr", "-P", "hush", "-N", "hush", "-f", gcm)
assert read(gcm) == ["read"] * 4
END
venv/bin/python see.py
