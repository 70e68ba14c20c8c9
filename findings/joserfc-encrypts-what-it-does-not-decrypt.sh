#!/usr/bin/env bash
# joserfc 1.8.0: what it encrypts by default it does not always decrypt by default, and may give back less than was encrypted.
# Seen: encrypt_compact takes 49,153 bytes without a word, and decrypt_compact refuses the token with ExceededSizeError, since it takes 64 KiB of
# base64 at most. With "zip": "DEF" it takes 300,000 bytes that deflate well, and decrypt_compact gives back 256,000 at most: mostly it refuses
# what is longer, but of a secret with blanks behind it that has up to 257 bytes more it gives, at some lengths, the first 256,000
# bytes and no error. jwcrypto 1.6.1 reads all of these tokens whole; so does joserfc the first, under a registry with a larger
# max_ciphertext_length. Guess: a library reads by default what it wrote by default, whole or not at all.
# Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check joserfc==1.8.0 jwcrypto==1.6.1
cat >see.py <<'END'
import os
import random

from joserfc import jwe
from joserfc.errors import ExceededSizeError
from joserfc.jwk import OctKey
from jwcrypto.jwe import JWE
from jwcrypto.jwk import JWK

key = OctKey.generate_key(256)
same_key = JWK(**key.as_dict(private=True))
plain = {"alg": "dir", "enc": "A256GCM"}


def token_of(payload, **more):
    """A token of joserfc, which jwcrypto reads."""
    token = jwe.encrypt_compact(plain | more, payload, key)
    other = JWE()
    other.deserialize(token, same_key)
    assert other.payload == payload
    return token


def given_back(token, registry=None):
    """How many bytes joserfc gives back, or its error."""
    try:
        return len(jwe.decrypt_compact(token, key, registry=registry).plaintext)
    except ExceededSizeError as error:
        return str(error)


class Larger(jwe.JWERegistry):
    max_ciphertext_length = 1_000_000


small, large = token_of(os.urandom(49_152)), token_of(os.urandom(49_153))
rows = "".join(f"user{random.randrange(100)}\n" for _ in range(50_000)).encode()[:300_000]
deflated = token_of(rows, zip="DEF")
seen = {
    "49,152 bytes": given_back(small),
    "49,153 bytes": given_back(large),
    "49,153 bytes, larger registry": given_back(large, Larger()),
    "300,000 bytes, deflated": given_back(deflated, Larger()),
    "256,000 bytes with blanks at the end, deflated": given_back(token_of(b"hush".ljust(256_000), zip="DEF")),
}
for what, back in seen.items():
    print(f"{what}: {back}")
assert list(seen.values()) == [
    49_152,
    "exceeded_size: Ciphertext size exceeds 65536 bytes.",
    49_153,
    "exceeded_size: Decompressed string exceeds 256000 bytes",
    256_000,
]
lengths = range(256_001, 256_258)
backs = [given_back(token_of(b"hush".ljust(length), zip="DEF")) for length in lengths]
cut = [length for length, back in zip(lengths, backs, strict=True) if back == 256_000]
print(f"of {len(lengths)} lengths from {lengths[0]} on, 256,000 bytes are given back, without an error, at {len(cut)}: {cut[:1]} to {cut[-1:]}")
assert cut
assert all(back == 256_000 or "Decompressed string exceeds" in back for back in backs)
END
venv/bin/python see.py
