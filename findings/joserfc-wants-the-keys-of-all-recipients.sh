#!/usr/bin/env bash
# joserfc 1.8.0 with jwcrypto 1.6.1 and jose 6.2.18 of npm: what is encrypted for two recipients can be read by neither of them alone.
# Seen: a JSON JWE has the secret for two keys, "old" and "new", as during a rotation, or for two teams. jwcrypto and jose read it with either key.
# decrypt_json of joserfc refuses both: "Unwrap AES key failed", as for a wrong key, and with a set that holds one of them "No key for kid: 'old'".
# So it is for what joserfc itself made. It reads the document with a set that holds both keys. RFC 7516 (section 5.2) lets a recipient decrypt
# his part and pass over the others. With registry=JWERegistry(verify_all_recipients=False) a single key is enough; a set needs all of them still.
# Guess: a recipient needs the own key alone. Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check joserfc==1.8.0 jwcrypto==1.6.1 cryptography==50.0.2
npm install --silent --no-fund --no-audit jose@6.2.18
cat >see.mjs <<'END'
import { readFileSync } from "node:fs";
import { generalDecrypt, importJWK } from "jose";

const [document, ...keys] = JSON.parse(readFileSync(0, "utf8"));
for (const key of keys) {
  const { plaintext } = await generalDecrypt(document, await importJWK(key, "A256KW"));
  console.log(new TextDecoder().decode(plaintext));
}
END
cat >see.py <<'END'
import json
import subprocess

from joserfc import jwe as joserfc
from joserfc.jwk import KeySet, OctKey
from jwcrypto import jwe, jwk

NAMES = ["old", "new"]
keys = {name: OctKey.generate_key(256, {"kid": name}) for name in NAMES}


def by_jwcrypto():
    made = jwe.JWE(b"hush", {"enc": "A256GCM"})
    for name, key in keys.items():
        made.add_recipient(jwk.JWK(**key.as_dict()), json.dumps({"alg": "A256KW", "kid": name}))
    return json.loads(made.serialize())


def by_joserfc():
    made = joserfc.GeneralJSONEncryption({"enc": "A256GCM"}, b"hush")
    for name, key in keys.items():
        made.add_recipient({"alg": "A256KW", "kid": name}, key)
    return joserfc.encrypt_json(made, None)


def read(document, key, **more):
    try:
        return joserfc.decrypt_json(document, key, **more).plaintext
    except Exception as error:
        return str(error)


def elsewhere(document, key):
    held = jwe.JWE()
    held.deserialize(json.dumps(document), jwk.JWK(**key.as_dict()))
    return held.payload


lenient = {"registry": joserfc.JWERegistry(verify_all_recipients=False)}
for make in by_jwcrypto, by_joserfc:
    document = make()
    assert [elsewhere(document, keys[name]) for name in NAMES] == [b"hush"] * 2
    given = json.dumps([document, *(key.as_dict() for key in keys.values())])
    assert subprocess.run(["node", "see.mjs"], input=given, capture_output=True, text=True, check=True).stdout == "hush\nhush\n"
    alone = [read(document, keys[name]) for name in NAMES]
    of_set = read(document, KeySet([keys["new"]]))
    both = read(document, KeySet(list(keys.values())))
    passed = [read(document, keys[name], **lenient) for name in NAMES]
    still = read(document, KeySet([keys["new"]]), **lenient)
    print(f"{make.__name__}: {alone}, a set of one: {of_set}, of both: {both}; without verify_all_recipients: {passed}, {still}")
    assert alone == ["decode_error: Unwrap AES key failed"] * 2
    assert of_set == still == "invalid_key_id: No key for kid: 'old'"
    assert both == b"hush" and passed == [b"hush"] * 2
END
venv/bin/python see.py
