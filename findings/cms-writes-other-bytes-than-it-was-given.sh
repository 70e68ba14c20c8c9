#!/usr/bin/env bash
# cryptography 50.0.2 (PKCS7EnvelopeBuilder) and openssl cms of OpenSSL 3.0 (Debian 12): a secret that is encrypted as a CMS message is another after it.
# Seen: without an option cryptography writes \r\n for each \n of a secret, and openssl does so and also drops what follows a zero byte in a line.
# Both end without an error, and each decrypts what is left of the other's. An OpenSSH private key that went through cryptography has \r\n in it, and
# of a key of 32 random bytes with a zero byte openssl keeps the part before it. With PKCS7Options.Binary, and with -binary, all comes back
# as it was. node-forge 1.4.3 of npm changes nothing when it reads or writes; openssl decrypts its messages, and cryptography does not (it finds
# "ExtraData"). Guess: what is encrypted comes back, and who wants the line ends of mail asks for them. Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check cryptography==50.0.2
npm install --silent --no-fund --no-audit node-forge@1.4.3
cat >see.cjs <<'END'
const { readFileSync, writeFileSync } = require("node:fs");
const { asn1, pkcs7, pki, util } = require("node-forge");

const certificate = pki.certificateFromPem(readFileSync("app.crt"));
if (process.argv[2] === "encrypt") {
  const made = pkcs7.createEnvelopedData();
  made.addRecipient(certificate);
  made.content = util.createBuffer(readFileSync("secret").toString("binary"));
  made.encrypt();
  writeFileSync("message.der", Buffer.from(asn1.toDer(made.toAsn1()).getBytes(), "binary"));
} else {
  const held = pkcs7.messageFromAsn1(asn1.fromDer(util.createBuffer(readFileSync("message.der").toString("binary"))));
  held.decrypt(held.findRecipient(certificate), pki.privateKeyFromPem(readFileSync("app.key")));
  writeFileSync("read", Buffer.from(held.content.getBytes(), "binary"));
}
END
cat >see.py <<'END'
import datetime
import subprocess
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, pkcs7

message = Path("message.der")


def run(*words, given=None):
    return subprocess.run(words, input=given, capture_output=True, check=True, timeout=60).stdout


def by_cryptography(secret, *options):
    builder = pkcs7.PKCS7EnvelopeBuilder().set_data(secret).add_recipient(certificate)
    message.write_bytes(builder.encrypt(Encoding.DER, list(options)))


def by_openssl(secret, *options):
    message.write_bytes(run("openssl", "cms", "-encrypt", "-aes-256-cbc", "-outform", "DER", *options, "app.crt", given=secret))


def by_forge(secret):
    Path("secret").write_bytes(secret)
    run("node", "see.cjs", "encrypt")


def openssl_reads():
    return run("openssl", "cms", "-decrypt", "-inform", "DER", "-inkey", "app.key", "-in", str(message))


def read():
    """What the message holds for all three."""
    python = pkcs7.pkcs7_decrypt_der(message.read_bytes(), certificate, key, [])
    run("node", "see.cjs", "decrypt")
    assert python == Path("read").read_bytes() == openssl_reads()
    return python


key = rsa.generate_private_key(65537, 2048)
name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "app")])
now, day = datetime.datetime.now(datetime.timezone.utc), datetime.timedelta(1)
certificate = x509.CertificateBuilder(name, name, key.public_key(), 1, now - day, now + day).sign(key, hashes.SHA256())
Path("app.crt").write_bytes(certificate.public_bytes(Encoding.PEM))
Path("app.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
secrets = {
    "an SSH key": ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()),
    "a newline": b"k" * 15 + b"\n" + b"k" * 16,
    "a zero": b"k" * 15 + b"\0" + b"k" * 16,
}
seen = {}
for kind, secret in secrets.items():
    seen[kind] = []
    for make, *options in ((by_cryptography,), (by_openssl,)):
        make(secret, *options)
        seen[kind].append(read())
    for make, option in ((by_cryptography, pkcs7.PKCS7Options.Binary), (by_openssl, "-binary")):
        make(secret, option)
        assert read() == secret
    by_forge(secret)
    assert openssl_reads() == secret
    try:
        refused = read()
    except ValueError as error:
        refused = str(error)
    assert "ExtraData" in refused
    print(f"{kind}, {len(secret)} bytes: cryptography keeps {len(seen[kind][0])}, openssl {len(seen[kind][1])}")
for kind in "an SSH key", "a newline":
    assert seen[kind] == [secrets[kind].replace(b"\n", b"\r\n")] * 2
assert seen["a zero"] == [secrets["a zero"], b"k" * 15]
END
venv/bin/python see.py
