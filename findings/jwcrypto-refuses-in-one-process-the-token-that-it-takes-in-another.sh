#!/usr/bin/env bash
# jwcrypto 1.6.1: the same token under the same JWKS is taken in one process and refused in the next.
# Seen: a set of a signing key without `use`, which is optional, and one for encryption with "use": "enc". JWT(jwt=token, key=keys) takes the token
# of the first in some of 24 processes, and ends with "Expected JWE, got JWS" in the others. A process says the same each time; which one it
# is follows from Python's hashes of strings, which are drawn anew for each process: with one PYTHONHASHSEED all say the same. With
# `expected_type="JWS"`, with `algs`, or with "use": "sig" in the first key, all take it.
# Guess: whether a token is good does not depend on the process. Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check jwcrypto==1.6.1
cat >make.py <<'END'
import json

from jwcrypto.jwk import JWK
from jwcrypto.jwt import JWT

signs, encrypts = JWK.generate(kty="EC", crv="P-256", kid="signs"), JWK.generate(kty="RSA", size=2048, kid="encrypts", use="enc")
token = JWT(header={"alg": "ES256", "kid": "signs"}, claims={"sub": "app"})
token.make_signed_token(signs)
keys = [json.loads(key.export_public()) for key in (signs, encrypts)]
print(json.dumps([token.serialize(), keys]))
END
cat >take.py <<'END'
import json
import sys

from jwcrypto.jwk import JWKSet
from jwcrypto.jwt import JWT

token, (signs, encrypts) = json.load(sys.stdin)


def take(first, **more):
    try:
        return JWT(jwt=token, key=JWKSet.from_json(json.dumps({"keys": [first, encrypts]})), **more).claims
    except TypeError as error:
        return str(error)


once, again = take(signs), take(signs)
told = take(signs, expected_type="JWS"), take(signs, algs=["ES256"]), take({**signs, "use": "sig"})
print(json.dumps([once, again, told]))
END
cat >see.py <<'END'
import json
import os
import subprocess
import sys
from collections import Counter

made = subprocess.run([sys.executable, "make.py"], capture_output=True, text=True, check=True).stdout


def process(**variables):
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONHASHSEED"}
    done = subprocess.run([sys.executable, "take.py"], input=made, env=clean | variables, capture_output=True, text=True, check=True)
    once, again, told = json.loads(done.stdout)
    assert once == again
    assert told == ['{"sub":"app"}'] * 3
    return once


drawn = Counter(process() for _ in range(24))
same = Counter(process(PYTHONHASHSEED="1") for _ in range(4))
print("24 processes:", dict(drawn))
print("4 processes with one seed:", dict(same))
assert set(drawn) == {'{"sub":"app"}', "Expected JWE, got JWS"}
assert len(same) == 1
END
venv/bin/python see.py
