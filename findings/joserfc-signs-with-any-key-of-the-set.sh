#!/usr/bin/env bash
# joserfc 1.8.0: given a set of two keys, as during a rotation, encode signs each token with one of them, drawn by chance.
# Seen: of 64 tokens of HS256 some have the kid of the first key and some that of the second, in either order of the set; a header that
# names a kid decides. A service that still lists the old key for reading goes on signing with it, so its last token with the old key is
# made when the key is removed, and not when the new one comes. itsdangerous 2.2.0 signs with the last of its keys, and MultiFernet of
# cryptography 50.0.2 encrypts with the first: one list in one order means two things. Guess: the first key signs, the others read.
# Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check joserfc==1.8.0 itsdangerous==2.2.0 cryptography==50.0.2
cat >see.py <<'END'
from collections import Counter

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from itsdangerous import BadSignature, URLSafeSerializer
from joserfc import jws, jwt
from joserfc.jwk import KeySet, OctKey

first = OctKey.generate_key(256, {"kid": "first"})
last = OctKey.generate_key(256, {"kid": "last"})


def signers(keys, header):
    tokens = [jwt.encode({"alg": "HS256", **header}, {"sub": "x"}, KeySet(keys)) for _ in range(64)]
    return Counter(jws.extract_compact(token.encode()).headers()["kid"] for token in tokens)


def reader(keys, read, refused):
    for name, key in zip(("first", "last"), keys, strict=True):
        try:
            read(key)
        except refused:
            continue
        return name


drawn, turned = signers([first, last], {}), signers([last, first], {})
named = signers([first, last], {"kid": "first"})
keys = [Fernet.generate_key(), Fernet.generate_key()]
encrypted = MultiFernet([Fernet(key) for key in keys]).encrypt(b"x")
signed = URLSafeSerializer(keys).dumps("x")
fernet = reader(keys, lambda key: Fernet(key).decrypt(encrypted), InvalidToken)
dangerous = reader(keys, lambda key: URLSafeSerializer(key).loads(signed), BadSignature)
print("joserfc signs with:", dict(drawn), "in the other order:", dict(turned), "with a kid:", dict(named))
print("MultiFernet encrypts with the", fernet, "key, itsdangerous signs with the", dangerous)
assert set(drawn) == set(turned) == {"first", "last"}
assert named == {"first": 64}
assert (fernet, dangerous) == ("first", "last")
END
venv/bin/python see.py
