#!/usr/bin/env bash
# nodecredstash 3.0.0 of npm with credstash 1.17.1 of PyPI, against moto 5.2.5: a version that Node was given as a text hides every version after it.
# Seen: putSecret() of nodecredstash takes a version as a number or a text. A number is filled up with zeros to 19 digits, as credstash does, so that versions
# sort as texts; a text is stored as it is. After putSecret with version "1", as it comes from a command line or a variable, incrementVersion() of Node gives
# 2 with 18 zeros, the new secret is stored without an error, and getSecret() of Node and of Python goes on with the old one: "1" sorts
# after every number with zeros. So it is when Python stores a new one by putSecretAutoversion(), each time under the same number, so that
# its second one is refused. Of "9" and "10" both read 9, and getSecret with version "1" finds the secret in Node only, since Python fills up here too.
# For those who write from Node: Number(version). Guess: 1 and "1" are one version, and the newest is the last that was stored.
# Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check credstash==1.17.1 'moto[dynamodb,kms,server]==5.2.5' boto3==1.44.8 cryptography==50.0.2
npm install --silent --no-fund --no-audit nodecredstash@3.0.0 esbuild@0.28.2
cat >app.mjs <<'END'
import { CredStash } from "nodecredstash";

const [step, given] = process.argv.slice(2);
const store = new CredStash();
store[step](JSON.parse(given)).then((answer) => console.log(JSON.stringify(answer)), (error) => console.log(JSON.stringify(error.message)));
END
npx esbuild app.mjs --bundle --platform=node --outfile=app.cjs --log-level=error
cat >see.py <<'END'
import json
import logging
import os
import subprocess

import boto3
import credstash
from moto.server import ThreadedMotoServer

logging.getLogger("werkzeug").disabled = True
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
server.start()
host, port = server.get_host_and_port()
os.environ |= {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "key", "AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-west-1"}
os.environ |= {"AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_CONFIG_FILE": "none", "NODE_NO_WARNINGS": "1"}


def node(step, **options):
    done = subprocess.run(["node", "app.cjs", step, json.dumps(options)], capture_output=True, text=True, check=True, timeout=60)
    return json.loads(done.stdout)


def python(name, **options):
    try:
        return credstash.getSecret(name, region="eu-west-1", **options)
    except Exception as error:
        return str(error)


def again(name, secret):
    try:
        credstash.putSecretAutoversion(name, secret, region="eu-west-1")
    except Exception as error:
        return type(error).__name__
    return "stored"


def rotated(name, version):
    """What both read after a rotation of what was stored under that version."""
    node("putSecret", name=name, secret="old", version=version)
    following = node("incrementVersion", name=name)
    node("putSecret", name=name, secret="new", version=following)
    return int(following), node("getSecret", name=name), python(name)


try:
    kms = boto3.client("kms")
    kms.create_alias(AliasName="alias/credstash", TargetKeyId=kms.create_key()["KeyMetadata"]["KeyId"])
    credstash.createDdbTable(region="eu-west-1", tags=[])
    number, text = rotated("number", 1), rotated("text", "1")
    print("next version, then what Node and Python read: of 1", number, 'of "1"', text)
    node("putSecret", name="python", secret="old", version="1")
    stored = [again("python", secret) for secret in ("new", "newer")]
    print("putSecretAutoversion of Python after it:", stored, "Python reads", python("python"))
    for version in "9", "10":
        node("putSecret", name="ten", secret=version, version=version)
    ten = node("getSecret", name="ten"), python("ten")
    asked = node("getSecret", name="ten", version="9"), python("ten", version="9")
    print("newest of 9 and 10:", ten, "version 9:", asked)
    still = python("python")
finally:
    server.stop()
assert number == (2, "new", "new")
assert text == (2, "old", "old")
assert stored == ["stored", "ConditionalCheckFailedException"] and still == "old"
assert ten == ("9", "9")
assert asked == ("9", "Item {'name': 'ten', 'version': '0000000000000000009'} couldn't be found.")
END
venv/bin/python see.py
