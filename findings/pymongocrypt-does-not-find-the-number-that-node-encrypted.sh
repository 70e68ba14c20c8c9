#!/usr/bin/env bash
# pymongocrypt 1.21.2 with pymongo 4.20.1, and bson 7.3.4 of npm: a number that Node encrypted as 5n, by MongoDB's client-side encryption, is not found by
# a query for 5 from Python.
# Seen: with the deterministic algorithm a value is looked up by its ciphertext. MongoDB's ciphertext depends on the type that a driver gives a
# number: 5 is a 32-bit integer from Python, and a 64-bit one from Node as 5n, and from Python too where it was read from such a field (Int64). In
# clear these are equal for a query; encrypted they are two values, and the query finds nothing, without an error. From 2^31 on Python writes a
# 64-bit integer, as Node does of a BigInt, and they are equal; as a number Node writes a double, which is refused: "BSON type invalid for deterministic
# encryption". Texts are equal from both. Store such a number as text, or give its type by Int64 and Long everywhere. Guess: what is equal for
# the server is equal when it is encrypted, or the number's type has to be named. Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check pymongocrypt==1.21.2 pymongo==4.20.1
npm install --silent --no-fund --no-audit bson@7.3.4
cat >see.mjs <<'END'
import { serialize } from "bson";

const values = { text: "5", number: 5, bigint: 5n, "large number": 4532015112830366, "large bigint": 4532015112830366n };
console.log(JSON.stringify(Object.entries(values).map(([name, v]) => [name, Buffer.from(serialize({ v })).toString("hex")])));
END
cat >see.py <<'END'
import json
import subprocess

import bson
from bson.codec_options import CodecOptions
from pymongocrypt.mongocrypt import MongoCryptOptions
from pymongocrypt.synchronous.explicit_encrypter import ExplicitEncrypter
from pymongocrypt.synchronous.state_machine import MongoCryptCallback

options = CodecOptions(uuid_representation=bson.binary.STANDARD)


class Vault(MongoCryptCallback):
    """A vault of data keys in memory, under a local master key."""

    keys = []

    def kms_request(self, _context):
        raise NotImplementedError

    collection_info = mark_command = kms_request

    def fetch_keys(self, _filter):
        return self.keys

    def insert_data_key(self, key):
        self.keys.append(key)
        return bson.decode(key)["_id"]

    def bson_encode(self, document):
        return bson.encode(document, codec_options=options)

    def close(self):
        pass


encrypter = ExplicitEncrypter(Vault(), MongoCryptOptions({"local": {"key": bytes(96)}}))
key = encrypter.create_data_key("local")


def encrypted(document):
    try:
        made = encrypter.encrypt(document, "AEAD_AES_256_CBC_HMAC_SHA_512-Deterministic", key_id=key)
        return bytes(bson.decode(made)["v"])
    except Exception as error:
        return str(error)


values = {"text": "5", "int": 5, "Int64": bson.Int64(5), "large int": 4532015112830366}
by_python = {name: encrypted(bson.encode({"v": v})) for name, v in values.items()}
documents = json.loads(subprocess.run(["node", "see.mjs"], capture_output=True, text=True, check=True, timeout=60).stdout)
by_node = {name: encrypted(bytes.fromhex(document)) for name, document in documents}
seen = {name: [other for other, value in by_python.items() if value == one] or one for name, one in by_node.items()}
print("found from Python by:", seen)
assert seen == {
    "text": ["text"],
    "number": ["int"],
    "bigint": ["Int64"],
    "large number": "BSON type invalid for deterministic encryption",
    "large bigint": ["large int"],
}
END
venv/bin/python see.py
