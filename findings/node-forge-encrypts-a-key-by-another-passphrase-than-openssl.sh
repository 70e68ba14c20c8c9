#!/usr/bin/env bash
# node-forge 1.4.3 of npm with OpenSSL 3.0 and cryptography 50.0.2: a passphrase past ASCII opens a private key in one of them alone.
# Seen: a key that openssl or cryptography encrypted by "mü" is not decrypted by decryptRsaPrivateKey, which answers null, as it does for a wrong
# passphrase. A key that node-forge encrypted by "mü" is refused by openssl, cryptography and Node's own crypto, though all of them were given
# the same text: node-forge takes one byte for each character, and the others take UTF-8. Given
# forge.util.encodeUtf8("mü"), node-forge reads and writes what the others do. ASCII is the same for all, so that only a new passphrase shows
# it, when the old one may be gone. Guess: one text is one passphrase. Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check cryptography==50.0.2
npm install --silent --no-fund --no-audit node-forge@1.4.3
cat >key.cjs <<'END'
const { createPrivateKey } = require("node:crypto");
const { readFileSync, writeFileSync } = require("node:fs");
const forge = require("node-forge");

const [step, passphrase] = process.argv.slice(2);
const utf8 = forge.util.encodeUtf8(passphrase);
const opened = (name, secret) => forge.pki.decryptRsaPrivateKey(readFileSync(name, "utf8"), secret) !== null;
const byNode = (name) => {
  try {
    return createPrivateKey({ key: readFileSync(name), passphrase }).type === "private";
  } catch {
    return false;
  }
};
if (step === "write") {
  const key = forge.pki.privateKeyFromPem(readFileSync("plain.pem", "utf8"));
  const write = (name, secret) => writeFileSync(name, forge.pki.encryptRsaPrivateKey(key, secret, { algorithm: "aes256" }));
  write("forge.pem", passphrase);
  write("utf8.pem", utf8);
}
const names = ["openssl.pem", "cryptography.pem", "forge.pem", "utf8.pem"];
const seen = names.map((name) => [name, { forge: opened(name, passphrase), utf8: opened(name, utf8), node: byNode(name) }]);
if (step === "read") console.log(JSON.stringify(Object.fromEntries(seen)));
END
cat >see.py <<'END'
import json
import subprocess
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa


def run(*words):
    return subprocess.run(words, capture_output=True, text=True, timeout=60)


def by_cryptography(name, passphrase):
    try:
        return bool(serialization.load_pem_private_key(Path(name).read_bytes(), passphrase.encode()))
    except ValueError:
        return False


def see(passphrase):
    """Who opens the key that each of the four ways has encrypted."""
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    cover = serialization.BestAvailableEncryption(passphrase.encode())
    Path("cryptography.pem").write_bytes(key.private_bytes(*form, cover))
    run("openssl", "pkcs8", "-topk8", "-in", "plain.pem", "-out", "openssl.pem", "-passout", f"pass:{passphrase}").check_returncode()
    run("node", "key.cjs", "write", passphrase).check_returncode()
    seen = json.loads(run("node", "key.cjs", "read", passphrase).stdout)
    for name, readers in seen.items():
        openssl = run("openssl", "pkey", "-noout", "-in", name, "-passin", f"pass:{passphrase}")
        readers |= {"openssl": openssl.returncode == 0, "cryptography": by_cryptography(name, passphrase)}
        print(passphrase, name, readers)
    return seen


key = rsa.generate_private_key(65537, 2048)
plain = serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
Path("plain.pem").write_bytes(key.private_bytes(*plain))
readers = ("forge", "utf8", "node", "openssl", "cryptography")
assert all(seen == dict.fromkeys(readers, True) for seen in see("mu").values())
past = see("mü")
assert past.pop("forge.pem") == dict.fromkeys(readers, False) | {"forge": True}
assert all(seen == dict.fromkeys(readers, True) | {"forge": False} for seen in past.values())
END
LC_ALL=C.UTF-8 venv/bin/python see.py
