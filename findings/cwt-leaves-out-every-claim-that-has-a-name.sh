#!/usr/bin/env bash
# cwt 3.3.0 with pycose 1.1.0 (Python): of the claims of a CWT those that have a name of one's own are left out, and with one of them even "iss" as a number.
# Seen: encode() with {"iss": "auth", "role": "reader"} makes a token without the role, and says nothing. {1: "auth", "role": "reader"} loses the
# issuer too. A CWT may have claims with a name (RFC 8392): pycose signs them, and cwt reads them from a token of pycose. What cwt keeps are the names that
# it has a number for, and claims that are numbers all. With set_private_claim_names() in the writer, a name goes as the number that it is given there.
# Each token also gets an end in an hour that was not asked for. Guess: a claim is in the token, or there is an error. Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check cwt==3.3.0 pycose==1.1.0 cbor2==5.9.0 cryptography==50.0.2
cat >see.py <<'END'
import os

import cbor2
import cwt
from pycose.algorithms import HMAC256
from pycose.headers import KID, Algorithm
from pycose.keys import SymmetricKey
from pycose.messages import CoseMessage, Mac0Message

secret = os.urandom(32)
key = cwt.COSEKey.from_symmetric_key(secret, alg="HS256", kid="app")
other_key = SymmetricKey(k=secret)


def made(claims, writer=cwt):
    """Return the claims in the token, as pycose reads them, without the three times."""
    message = CoseMessage.decode(writer.encode(dict(claims), key))
    message.key = other_key
    assert message.verify_tag()
    return {name: value for name, value in cbor2.loads(message.payload).items() if name not in (4, 5, 6)}


def of_pycose(claims):
    """Return what cwt reads of a token that pycose made."""
    message = Mac0Message(phdr={Algorithm: HMAC256}, uhdr={KID: b"app"}, payload=cbor2.dumps(claims))
    message.key = other_key
    return cwt.decode(message.encode(), key)


with_number = cwt.CWT.new()
with_number.set_private_claim_names({"role": -70001})
named, mixed, numbers = {"iss": "auth", "role": "reader"}, {1: "auth", "role": "reader"}, {1: "auth", -70001: "reader"}
seen = {
    "cwt, named": made(named),
    "cwt, mixed": made(mixed),
    "cwt, numbers": made(numbers),
    "cwt, with a number for the name": made(named, with_number),
    "pycose, read by cwt": of_pycose(mixed),
}
for name, one in seen.items():
    print(f"{name}: {one}")
assert list(seen.values()) == [{1: "auth"}, {}, numbers, numbers, mixed]
END
venv/bin/python see.py
