#!/usr/bin/env bash
# @aws-crypto/client-node 5.0.2 of npm with aws-encryption-sdk 4.0.7 of PyPI: a message whose encryption context has a capital letter among its names
# is read by neither SDK if the other has written it.
# Seen: both SDKs encrypt under one raw AES key, and each reads what it wrote itself. The key of the message is wrapped together with the encryption
# context, sorted by name. Python sorts the names by their bytes, so that "Key" comes before "tenant" and "B" before "a". Node sorts them as words of
# a language (localeCompare): "a" before "B", "a_b" before "a-b", and "é" before "z". One name with a capital letter, such as "Department", is enough, since
# both SDKs add the name aws-crypto-public-key. Python then ends with InvalidTag, without a text, and Node with "unencryptedDataKey has not been
# set". With names of small letters and digits alone the same message is read both ways. Messages under a key of AWS KMS were
# not tried. Guess: one context gives one message, whatever SDK reads it. Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check aws-encryption-sdk==4.0.7 cryptography==50.0.2
npm install --silent --no-fund --no-audit @aws-crypto/client-node@5.0.2
cat >sdk.mjs <<'END'
import { readFileSync } from "node:fs";
import { buildClient, CommitmentPolicy, RawAesKeyringNode, RawAesWrappingSuiteIdentifier } from "@aws-crypto/client-node";

const { encrypt, decrypt } = buildClient(CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT);
const keyring = new RawAesKeyringNode({
  keyName: "app",
  keyNamespace: "acme",
  unencryptedMasterKey: new Uint8Array(32).fill(7),
  wrappingSuite: RawAesWrappingSuiteIdentifier.AES256_GCM_IV12_TAG16_NO_PADDING,
});
const answers = [];
for (const [context, message] of JSON.parse(readFileSync(0, "utf8"))) {
  if (message) {
    const read = decrypt(keyring, Buffer.from(message, "base64")).then(({ plaintext }) => plaintext.toString());
    answers.push(await read.catch((error) => error.message));
  } else {
    answers.push((await encrypt(keyring, "hush", { encryptionContext: context })).result.toString("base64"));
  }
}
console.log(JSON.stringify(answers));
END
cat >see.py <<'END'
import base64
import json
import logging
import subprocess

import aws_encryption_sdk
from aws_encryption_sdk.identifiers import EncryptionKeyType, WrappingAlgorithm
from aws_encryption_sdk.internal.crypto.wrapping_keys import WrappingKey
from aws_encryption_sdk.key_providers.raw import RawMasterKey

logging.disable()
AES = WrappingAlgorithm.AES_256_GCM_IV12_TAG16_NO_PADDING
wrapping = WrappingKey(wrapping_algorithm=AES, wrapping_key=bytes([7]) * 32, wrapping_key_type=EncryptionKeyType.SYMMETRIC)
key = RawMasterKey(provider_id="acme", key_id="app", wrapping_key=wrapping)
client = aws_encryption_sdk.EncryptionSDKClient()


def node(pairs):
    done = subprocess.run(["node", "sdk.mjs"], input=json.dumps(pairs), capture_output=True, text=True, check=True, timeout=60)
    return json.loads(done.stdout)


def encrypt(context):
    return base64.b64encode(client.encrypt(source=b"hush", key_provider=key, encryption_context=context)[0]).decode()


def decrypt(message):
    try:
        return client.decrypt(source=base64.b64decode(message), key_provider=key)[0].decode()
    except Exception as error:
        return repr(error)


names = ["tenant"], ["key", "tenant"], ["key1", "key2"], ["Department"], ["Key", "tenant"], ["a", "B"], ["a_b", "a-b"], ["é", "z"]
contexts = [{name: "x" for name in some} for some in names]
by_python = [encrypt(context) for context in contexts]
by_node = node([(context, None) for context in contexts])
own = {decrypt(message) for message in by_python} | set(node([(None, message) for message in by_node]))
python_reads = [decrypt(message) for message in by_node]
node_reads = node([(None, message) for message in by_python])
for some, left, right in zip(names, python_reads, node_reads, strict=True):
    print(some, "- Python reads what Node wrote:", left, "- Node reads what Python wrote:", right)
assert own == {"hush"}
assert python_reads == ["hush"] * 3 + ["InvalidTag()"] * 5
assert node_reads == ["hush"] * 3 + ["unencryptedDataKey has not been set"] * 5
END
venv/bin/python see.py
