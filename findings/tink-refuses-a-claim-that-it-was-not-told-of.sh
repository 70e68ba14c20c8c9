#!/usr/bin/env bash
# tink 1.16.1 of PyPI with PyJWT 2.15.1, joserfc 1.8.0 and jose 6.2.18 of npm: a validator of Tink refuses a good token for an issuer that nobody asked about.
# Seen: new_validator() takes no token that has a "typ", an "iss" or an "aud": "token has issuer set, but validator not". PyJWT and joserfc write "typ"
# into each token and jose does not, so that one validator takes the tokens of Node and none of Python, and with expected_type_header="JWT" it is the other
# way round. An issuer cannot be added one program after the other: a receiver refuses the new tokens before it is told of it, and the old ones
# after. With ignore_type_header=True and ignore_issuer=True both are taken. Tokens of Tink are read by all.
# Guess: a condition that is not stated is none. Ends with 0 where that is still so.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check tink==1.16.1 PyJWT==2.15.1 joserfc==1.8.0 cryptography==50.0.2
npm install --silent --no-fund --no-audit jose@6.2.18
cat >see.mjs <<'END'
import { readFileSync } from "node:fs";
import * as jose from "jose";

const { jwk, claims, token, publicJwk } = JSON.parse(readFileSync(0, "utf8"));
const key = await jose.importJWK(jwk, "ES256");
const made = await new jose.SignJWT(claims).setProtectedHeader({ alg: "ES256", kid: "app" }).sign(key);
const read = await jose.jwtVerify(token, await jose.importJWK(publicJwk, "ES256"));
console.log(JSON.stringify({ made, read: read.payload.sub }));
END
cat >see.py <<'END'
import datetime
import json
import subprocess
import time

import jwt
import tink
from joserfc import jwk, jwt as joserfc_jwt
from tink import jwt as tink_jwt

tink_jwt.register_jwt_signature()
key = jwk.ECKey.generate_key("P-256", {"kid": "app", "alg": "ES256", "use": "sig"})
public = key.as_dict(private=False)
verifier = tink_jwt.jwk_set_to_public_keyset_handle(json.dumps({"keys": [public]})).primitive(tink_jwt.JwtPublicKeyVerify)
CLAIMS = {"sub": "app", "exp": int(time.time()) + 3600}


def by_tink(token, **conditions):
    try:
        return verifier.verify_and_decode(token, tink_jwt.new_validator(**conditions)).subject()
    except tink_jwt.JwtInvalidError as error:
        return str(error).removeprefix("invalid JWT; ")


def of_pyjwt(**more):
    return jwt.encode(CLAIMS | more, key.private_key, "ES256", headers={"kid": "app"})


signer = tink.new_keyset_handle(tink_jwt.jwt_es256_template())
end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)
of_tink = signer.primitive(tink_jwt.JwtPublicKeySign).sign_and_encode(tink_jwt.new_raw_jwt(subject="app", expiration=end))
(published,) = json.loads(tink_jwt.jwk_set_from_public_keyset_handle(signer.public_keyset_handle()))["keys"]
given = {"jwk": key.as_dict(private=True), "claims": CLAIMS, "token": of_tink, "publicJwk": published}
node = json.loads(subprocess.run(["node", "see.mjs"], input=json.dumps(given), capture_output=True, text=True, check=True, timeout=60).stdout)
python = {"PyJWT": of_pyjwt(), "joserfc": joserfc_jwt.encode({"alg": "ES256", "kid": "app"}, CLAIMS, key)}
tokens = python | {"jose": node["made"], "PyJWT with iss": of_pyjwt(iss="auth"), "PyJWT with aud": of_pyjwt(aud="app")}
validators = {
    "no condition": {},
    "typ expected": {"expected_type_header": "JWT"},
    "typ and iss expected": {"expected_type_header": "JWT", "expected_issuer": "auth"},
    "typ and iss ignored": {"ignore_type_header": True, "ignore_issuer": True},
}
seen = {name: {maker: by_tink(token, **conditions) for maker, token in tokens.items()} for name, conditions in validators.items()}
others = [jwt.decode(of_tink, jwt.PyJWK(published).key, ["ES256"])["sub"], node["read"]]
for name, one in seen.items():
    print(f"{name}: {one}")
print("of Tink, by PyJWT and jose:", others)
assert others == ["app", "app"]
typ, iss, aud = (f"token has {name} set, but validator not." for name in ("type_header", "issuer", "audience"))
no_typ, no_iss = "missing expected type header JWT.", "missing expected issuer auth."
expected = {
    "no condition": [typ, typ, "app", typ, typ],
    "typ expected": ["app", "app", no_typ, iss, aud],
    "typ and iss expected": [no_iss, no_iss, no_typ, "app", no_iss],
    "typ and iss ignored": ["app", "app", "app", "app", aud],
}
assert {name: list(one.values()) for name, one in seen.items()} == expected
END
venv/bin/python see.py
