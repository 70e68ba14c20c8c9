#!/usr/bin/env bash
# aws-lambda-powertools 3.37.0 (Python) and @aws-lambda-powertools/parameters 2.35.0 (Node) over moto 5.2.5: get_secret takes the version of a secret from its
# cache that another call asked for.
# Seen: a secret has an old and a new version. get_secret("db") gives the new one, and right after it get_secret("db", VersionStage="AWSPREVIOUS") gives the
# new one too, without a request; so does a VersionId. If the call for AWSPREVIOUS came first, with max_age=3600, get_secret("db") gives the old
# password for an hour, with max_age=0 as well; force_fetch=True gives what was asked for, and puts it in the place of the other. The Node library
# does the same with sdkOptions. SecretCache of aws-secretsmanager-caching 1.2.0 keeps the stages apart. So a function that falls back on the
# previous password while a rotation is under way tries one password twice, or stays with the old one after it.
# Guess: another version is another entry of the cache. To do: a SecretsProvider of its own for each stage, or force_fetch=True for both calls.
# Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export HOME=$work AWS_ACCESS_KEY_ID=x AWS_SECRET_ACCESS_KEY=x AWS_DEFAULT_REGION=eu-west-1 AWS_REGION=eu-west-1 POWERTOOLS_DEV=1
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check aws-lambda-powertools==3.37.0 boto3==1.44.8 'moto[server]==5.2.5' aws-secretsmanager-caching==1.2.0
npm install --silent --no-fund --no-audit @aws-lambda-powertools/parameters@2.35.0 @aws-sdk/client-secrets-manager@3.1164.0
cat >see.mjs <<'END'
import { clearCaches } from "@aws-lambda-powertools/parameters";
import { getSecret } from "@aws-lambda-powertools/parameters/secrets";

const previous = { sdkOptions: { VersionStage: "AWSPREVIOUS" } };
const seen = [await getSecret("db"), await getSecret("db", previous), await getSecret("db", { ...previous, forceFetch: true })];
clearCaches();
seen.push(await getSecret("db", { ...previous, maxAge: 3600 }), await getSecret("db"), await getSecret("db", { maxAge: 0 }));
console.log(JSON.stringify(seen));
END
cat >see.py <<'END'
import json
import logging
import os
import subprocess

import boto3
from aws_lambda_powertools.utilities import parameters
from aws_lambda_powertools.utilities.parameters import SecretsProvider, get_secret
from aws_secretsmanager_caching import SecretCache
from moto.server import ThreadedMotoServer

logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
try:
    os.environ["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{server.get_host_and_port()[1]}"
    client = boto3.client("secretsmanager")
    old = client.create_secret(Name="db", SecretString="old")["VersionId"]
    client.put_secret_value(SecretId="db", SecretString="new")
    previous = {"VersionStage": "AWSPREVIOUS"}
    seen = [get_secret("db"), get_secret("db", **previous), get_secret("db", **previous, force_fetch=True)]
    parameters.clear_caches()
    seen += [get_secret("db", **previous, max_age=3600), get_secret("db"), get_secret("db", max_age=0)]
    parameters.clear_caches()
    by_id = [get_secret("db"), get_secret("db", VersionId=old)]
    apart = [SecretsProvider().get("db"), SecretsProvider().get("db", **previous)]
    cache = SecretCache(client=client)
    other = [cache.get_secret_string("db"), cache.get_secret_string("db", "AWSPREVIOUS")]
    node = json.loads(subprocess.run(["node", "see.mjs"], check=True, capture_output=True, text=True).stdout.splitlines()[-1])
finally:
    server.stop()
print("Python:", seen, "by id:", by_id)
print("Node:  ", node)
print("two providers:", apart, "aws-secretsmanager-caching:", other)
assert seen == node == ["new", "new", "old", "old", "old", "old"]
assert by_id == ["new", "new"]
assert apart == other == ["new", "old"]
END
venv/bin/python see.py
