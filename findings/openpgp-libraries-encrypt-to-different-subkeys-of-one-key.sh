#!/usr/bin/env bash
# GnuPG 2.2.40 (Debian 12), openpgp 6.3.2 of npm, pysequoia 0.1.35 and PGPy 0.6.0: for a key with two valid subkeys for encryption the first two
# encrypt to the newer one, the third to both, and the last to the older one.
# Seen: the owner of a key adds a second subkey for encryption, and the first is still valid, as it is for a while in a rotation, or where two machines
# have a subkey each. Of one public key each tool takes another choice, so that a machine that has got the new subkey alone reads nothing that PGPy
# made, and one with the old subkey alone nothing that gpg and openpgp made: "No secret key". Who encrypts gets no error. For who changes a
# subkey: keep the old secret subkey on every machine as long as somebody may encrypt to it. Guess: one public key, one choice.
# Ends with 0 where that is still so. Needs Debian 12 with its package lists.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
cd "$work"
python3.11 -m venv venv
venv/bin/pip install -q --disable-pip-version-check PGPy==0.6.0 pysequoia==0.1.35 cryptography==50.0.2
npm install --silent --no-fund --no-audit openpgp@6.3.2
for package in gpg=2.2.40-1.1+deb12u2 gpg-agent=2.2.40-1.1+deb12u2 gpgconf=2.2.40-1.1+deb12u2 libassuan0 libnpth0; do
    apt-get download -q "$package" >/dev/null 2>&1
done
for file in *.deb; do dpkg -x "$file" root; done
cat >encrypt.mjs <<'END'
import { readFileSync, writeFileSync } from "node:fs";
import { createMessage, encrypt, readKey } from "openpgp";

const encryptionKeys = await readKey({ armoredKey: readFileSync("public", "utf8") });
const message = await createMessage({ text: "hush" });
writeFileSync("openpgp", await encrypt({ message, encryptionKeys, format: "binary" }));
END
cat >see.py <<'END'
import glob
import os
import subprocess
import tempfile
import time
import warnings
from pathlib import Path

import pgpy
import pysequoia

warnings.simplefilter("ignore")
tools = Path("root/usr/bin").resolve()
libraries = ":".join(str(Path(one).resolve()) for one in glob.glob("root/usr/lib/*-linux-gnu"))
own, new_only, old_only = (tempfile.mkdtemp(dir=".") for _ in range(3))
DAY = 86_400


def run(home, *words, **more):
    places = {"GNUPGHOME": str(Path(home).resolve()), "LD_LIBRARY_PATH": libraries}
    return subprocess.run(words, capture_output=True, env=os.environ | places, timeout=60, **more)


def gpg(home, *words, ago=0, **more):
    """What gpg does in the home, so many days ago."""
    quiet = ("--batch", "--pinentry-mode", "loopback", "--passphrase", "", "--trust-model", "always")
    when = time.strftime("%Y%m%dT%H%M%S!", time.gmtime(time.time() - ago * DAY))
    clock = ("--faked-system-time", when) if ago else ()
    return run(home, tools / "gpg", "--agent-program", tools / "gpg-agent", *quiet, *clock, *words, **more)


def fields(kind, number):
    lines = gpg(own, "--list-keys", "--with-colons").stdout.decode().splitlines()
    return [line.split(":")[number] for line in lines if line.startswith(kind)]


def recipients(name):
    """Return old or new, for each subkey that the message is encrypted to."""
    packets = gpg(own, "--list-packets", name).stdout.decode().splitlines()
    return sorted(names[line.split()[-1]] for line in packets if line.startswith(":pubkey enc packet"))


def reads(home, name):
    done = gpg(home, "--decrypt", name)
    return done.stdout.decode() if done.returncode == 0 else "No secret key" in done.stderr.decode() and "No secret key"


try:
    gpg(own, "--quick-gen-key", "app <app@example.org>", "ed25519", "cert", "never", ago=500)
    (primary,) = fields("fpr", 9)
    gpg(own, "--quick-add-key", primary, "cv25519", "encr", "5y", ago=500)
    gpg(own, "--quick-add-key", primary, "cv25519", "encr", "5y", ago=100)
    old, new = fields("sub", 4)
    names = {old: "old", new: "new"}
    for home, subkey in ((old_only, old), (new_only, new)):
        gpg(home, "--import", input=gpg(own, "--export-secret-subkeys", f"{subkey}!").stdout)
    public = gpg(own, "--armor", "--export", primary).stdout
    Path("public").write_bytes(public)
    Path("gpg").write_bytes(gpg(own, "--encrypt", "--recipient", primary, input=b"hush").stdout)
    subprocess.run(["node", "encrypt.mjs"], check=True, timeout=60)
    Path("pysequoia").write_bytes(pysequoia.encrypt(b"hush", recipients=[pysequoia.Cert.from_bytes(public)]))
    key, _ = pgpy.PGPKey.from_blob(public)
    Path("pgpy").write_bytes(bytes(key.encrypt(pgpy.PGPMessage.new("hush"))))
    makers = ("gpg", "openpgp", "pysequoia", "pgpy")
    valid = fields("sub", 1)
    seen = {name: (recipients(name), reads(old_only, name), reads(new_only, name)) for name in makers}
finally:
    for home in (own, old_only, new_only):
        run(home, tools / "gpg-connect-agent", "--no-autostart", "KILLAGENT", "/bye")
print("subkeys:", valid)
for name, (to, with_old, with_new) in seen.items():
    print(f"{name}: encrypted to {to}; who has the old subkey reads {with_old!r}, who has the new one {with_new!r}")
assert len(valid) == 2 and not set(valid) & set("er")  # neither is expired or revoked
locked_out = "No secret key"
assert seen == {
    "gpg": (["new"], locked_out, "hush"),
    "openpgp": (["new"], locked_out, "hush"),
    "pysequoia": (["new", "old"], "hush", "hush"),
    "pgpy": (["old"], "hush", locked_out),
}
END
venv/bin/python see.py
