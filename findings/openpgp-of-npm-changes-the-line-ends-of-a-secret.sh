#!/usr/bin/env bash
# openpgp 6.3.2 of npm with GnuPG 2.2.40 (Debian 12), pysequoia 0.1.35 and PGPy 0.6.0: a file of several lines is another one after it was encrypted.
# Seen: a .env that Node encrypts as `text` has "\r\n" for each "\n" when pysequoia or PGPy decrypt it, so that each password there ends with
# "\r"; gpg and openpgp give it as it was, so a test in Node passes. A text that has "\r\n", as a file of Windows has, comes out of openpgp with "\n",
# also where pysequoia encrypted it as bytes; gpg does the same to what Node wrote as text. With `binary`, and `format: "binary"` to decrypt, all
# four agree on each byte. Guess: what is decrypted is what was encrypted. Ends with 0 where that is still so. Needs Debian 12 with its package lists.
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
cat >see.mjs <<'END'
import { readFileSync } from "node:fs";
import { createMessage, decrypt, encrypt, readMessage } from "openpgp";

const { plain, message } = JSON.parse(readFileSync(0, "utf8"));
const passwords = ["hush"];
if (plain === undefined) {
  const read = async (format) => (await decrypt({ message: await readMessage({ armoredMessage: message }), passwords, format })).data;
  console.log(JSON.stringify([await read("utf8"), Buffer.from(await read("binary")).toString()]));
} else {
  const write = async (content) => encrypt({ message: await createMessage(content), passwords });
  console.log(JSON.stringify([await write({ text: plain }), await write({ binary: Buffer.from(plain) })]));
}
END
cat >see.py <<'END'
import glob
import json
import os
import subprocess
import tempfile
import warnings
from pathlib import Path

import pgpy
import pysequoia

warnings.simplefilter("ignore")
tools = Path("root/usr/bin").resolve()
libraries = ":".join(str(Path(one).resolve()) for one in glob.glob("root/usr/lib/*-linux-gnu"))
places = os.environ | {"GNUPGHOME": str(Path(tempfile.mkdtemp(dir=".")).resolve()), "LD_LIBRARY_PATH": libraries}
UNIX, WINDOWS = "A=one\nB=two\n", "A=one\r\nB=two\r\n"
NAMES = {UNIX: "\\n", WINDOWS: "\\r\\n"}


def node(**given):
    return json.loads(subprocess.run(["node", "see.mjs"], input=json.dumps(given), capture_output=True, text=True, check=True, timeout=60).stdout)


def by_gpg(message):
    quiet = ("--batch", "--pinentry-mode", "loopback", "--passphrase", "hush", "--agent-program", tools / "gpg-agent")
    return subprocess.run([tools / "gpg", *quiet, "--decrypt"], input=message.encode(), capture_output=True, env=places, timeout=60).stdout.decode()


def by_pgpy(message):
    plain = pgpy.PGPMessage.from_blob(message).decrypt("hush").message
    return plain if isinstance(plain, str) else plain.decode()


def read(message):
    """Return the line ends that each tool gives."""
    text, binary = node(message=message)
    sequoia = pysequoia.decrypt(message.encode(), passwords=["hush"]).bytes.decode()
    plain = {"openpgp": text, "openpgp, binary": binary, "gpg": by_gpg(message), "pysequoia": sequoia, "PGPy": by_pgpy(message)}
    return {name: NAMES.get(one, one) for name, one in plain.items()}


seen = {}
try:
    for plain, name in NAMES.items():
        as_text, as_bytes = node(plain=plain)
        seen[name, "openpgp, text"] = read(as_text)
        seen[name, "openpgp, binary"] = read(as_bytes)
        seen[name, "pysequoia"] = read(pysequoia.encrypt(plain.encode(), passwords=["hush"]).decode())
finally:
    subprocess.run([tools / "gpg-connect-agent", "--no-autostart", "KILLAGENT", "/bye"], capture_output=True, env=places, timeout=60)
for (ends, writer), one in seen.items():
    print(f"lines end with {ends}, encrypted by {writer}: {one}")
unix, windows = NAMES.values()
readers = ("openpgp", "openpgp, binary", "gpg", "pysequoia", "PGPy")
assert seen[unix, "openpgp, text"] == dict(zip(readers, (unix, windows, unix, windows, windows), strict=True))
assert seen[unix, "openpgp, binary"] == seen[unix, "pysequoia"] == dict.fromkeys(readers, unix)
assert seen[windows, "openpgp, text"] == dict(zip(readers, (unix, windows, unix, windows, windows), strict=True))
assert seen[windows, "openpgp, binary"] == seen[windows, "pysequoia"] == dict.fromkeys(readers, windows) | {"openpgp": unix}
END
venv/bin/python see.py
