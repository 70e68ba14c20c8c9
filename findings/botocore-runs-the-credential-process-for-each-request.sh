#!/usr/bin/env bash
# botocore 1.44.8 with moto 5.2.5: a credential_process whose credentials live 15 minutes or less runs again for each request.
# Seen: ten requests of one client start the program eleven times where its credentials live 5 or 14 minutes, and where they live 900 s,
# the shortest session that STS issues; once where they live 20 minutes, or where it tells no end. A program that asks a vault or a
# second factor is asked for each. Guess: credentials are used until they are near their end, measured by their life.
# Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check boto3==1.44.8 botocore==1.44.8 'moto[secretsmanager]==5.2.5'
cat >program.py <<'END'
import datetime
import json
import sys

with open("runs", "a") as runs:
    runs.write("x")
answer = {"Version": 1, "AccessKeyId": "a", "SecretAccessKey": "b", "SessionToken": "c"}
if sys.argv[1] != "none":
    end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=int(sys.argv[1]))
    answer["Expiration"] = end.isoformat()
print(json.dumps(answer))
END
cat >see.py <<'END'
import os
import pathlib
import sys

for name in [one for one in os.environ if one.startswith("AWS_")]:
    del os.environ[name]
os.environ |= {"AWS_CONFIG_FILE": "config", "AWS_SHARED_CREDENTIALS_FILE": "none", "AWS_DEFAULT_REGION": "us-east-1"}
import boto3
from moto import mock_aws


def runs_for(life):
    pathlib.Path("config").write_text(f"[profile p]\ncredential_process = {sys.executable} program.py {life}\n")
    pathlib.Path("runs").write_text("")
    with mock_aws(config={"core": {"mock_credentials": False}}):  # moto's own would win
        client = boto3.Session(profile_name="p").client("secretsmanager")
        for _ in range(10):
            client.list_secrets()
    return len(pathlib.Path("runs").read_text())


seen = {life: runs_for(life) for life in (300, 840, 900, 1200, "none")}
print("runs of the program for ten requests, by the life of its credentials in seconds:", seen)
assert seen == {300: 11, 840: 11, 900: 11, 1200: 1, "none": 1}
END
venv/bin/python see.py
