#!/usr/bin/env bash
# nodecredstash 3.0.0 of npm, against moto 5.2.5: deleteSecrets() with a table deletes nothing there, and the secret of that name in the default table.
# Seen: "db" is in the tables "credential-store", which is the default, and "staging". deleteSecrets({name: "db", tableName: "staging"}) lists the versions
# of "db" in "staging" and then deletes those numbers from "credential-store": its answer has one success for each version, "staging" has
# all of them still, and "db" of the default table is gone. deleteSecret() with a version, putSecret() and getSecret() use the table
# that they are given, and the README gives tableName as an option of deleteSecrets. Node itself cannot load the package ("Cannot find module");
# a bundler can, here esbuild 0.28.2. For those who use it: delete version by version with deleteSecret(). Guess: what is deleted
# is in the table that was named. Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check 'moto[dynamodb,kms,server]==5.2.5' boto3==1.44.8
npm install --silent --no-fund --no-audit nodecredstash@3.0.0 esbuild@0.28.2
cat >app.mjs <<'END'
import { CredStash } from "nodecredstash";

const [step, given] = process.argv.slice(2);
const store = new CredStash();
store[step](JSON.parse(given)).then((answer) => console.log(JSON.stringify({ answer })), (error) => console.log(JSON.stringify({ error: error.message })));
END
npx esbuild app.mjs --bundle --platform=node --outfile=app.cjs --log-level=error
cat >see.py <<'END'
import json
import logging
import os
import subprocess

import boto3
from moto.server import ThreadedMotoServer

logging.getLogger("werkzeug").disabled = True
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
server.start()
host, port = server.get_host_and_port()
os.environ |= {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "key", "AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-west-1"}
os.environ |= {"AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_CONFIG_FILE": "none", "NODE_NO_WARNINGS": "1"}
TABLES = "credential-store", "staging"


def node(step, **options):
    done = subprocess.run(["node", "app.cjs", step, json.dumps(options)], capture_output=True, text=True, check=True, timeout=60)
    return json.loads(done.stdout)


def versions():
    held = {table: database.Table(table).scan()["Items"] for table in TABLES}
    return {table: sorted(f"{item['name']} {int(item['version'])}" for item in items) for table, items in held.items()}


try:
    kms, database = boto3.client("kms"), boto3.resource("dynamodb")
    kms.create_alias(AliasName="alias/credstash", TargetKeyId=kms.create_key()["KeyMetadata"]["KeyId"])
    for table in TABLES:
        parts = [("name", "HASH"), ("version", "RANGE")]
        database.create_table(
            TableName=table,
            KeySchema=[{"AttributeName": name, "KeyType": kind} for name, kind in parts],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name, _ in parts],
            BillingMode="PAY_PER_REQUEST",
        )
        for version in 1, 2:
            node("putSecret", name="db", secret=f"{table} {version}", version=version, tableName=table)
    assert versions() == {table: ["db 1", "db 2"] for table in TABLES}
    assert node("getSecret", name="db", tableName="staging") == {"answer": "staging 2"}
    deleted = node("deleteSecrets", name="db", tableName="staging")
    statuses, left = [one["$metadata"]["httpStatusCode"] for one in deleted["answer"]], versions()
    print("deleteSecrets in staging answers", statuses, "and leaves", left)
    gone, there = node("getSecret", name="db"), node("getSecret", name="db", tableName="staging")
    print("getSecret:", gone, "in staging:", there)
    node("deleteSecret", name="db", version=2, tableName="staging")
    one_by_one = versions()
    print("after deleteSecret of version 2 in staging:", one_by_one)
finally:
    server.stop()
assert statuses == [200, 200]
assert left == {"credential-store": [], "staging": ["db 1", "db 2"]}
assert gone == {"error": "Item {'name': 'db'} could not be found."} and there == {"answer": "staging 2"}
assert one_by_one == {"credential-store": [], "staging": ["db 1"]}
END
venv/bin/python see.py
