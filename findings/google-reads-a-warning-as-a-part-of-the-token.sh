#!/usr/bin/env bash
# google-auth 2.63.0, google-auth-library 10.9.1 of npm, botocore 1.44.8: a program that prints credentials also prints a warning.
# Seen: the program of an external account (credential_source.executable) writes a good answer to stdout and "warning: deprecated option" to
# stderr, and ends with 0. Google's two libraries join stderr to stdout, and the login fails as soon as there is a warning: Python with
# json.JSONDecodeError, which is not a GoogleAuthError, and Node with "The executable returned an invalid response". The same happens for a
# line of a child that ends later. botocore reads the stdout of its credential_process alone. Guess: stderr is for people, as it is for
# credential_process, and for the helpers of docker, git and kubectl.
# Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check google-auth==2.63.0 requests==2.34.2 botocore==1.44.8
npm install --silent --no-fund --no-audit google-auth-library@10.9.1
cat >see.mjs <<'END'
import { readFileSync } from "node:fs";
import { ExternalAccountClient } from "google-auth-library";

const client = ExternalAccountClient.fromJSON(JSON.parse(readFileSync("account.json", "utf8")));
console.log(await client.retrieveSubjectToken().catch((error) => error.message));
END
cat >see.py <<'END'
import json
import os
import subprocess
from pathlib import Path

import google.auth
from botocore.session import Session
from google.auth.exceptions import GoogleAuthError

kind = "urn:ietf:params:oauth:token-type:jwt"
google_says = {"version": 1, "success": True, "token_type": kind, "id_token": "hush-token", "expiration_time": 9999999999}
aws_says = {"Version": 1, "AccessKeyId": "AKEXAMPLE", "SecretAccessKey": "hush-key"}
command = os.path.abspath("print-token")
account = {
    "type": "external_account",
    "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool/providers/own",
    "subject_token_type": kind,
    "token_url": f"https:{'//'}sts.googleapis.com/v1/token",
    "credential_source": {"executable": {"command": command, "timeout_millis": 30000}},
}
Path("account.json").write_text(json.dumps(account))
Path("config").write_text(f"[default]\ncredential_process = {command}\n")
os.environ |= {"GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES": "1", "AWS_CONFIG_FILE": os.path.abspath("config")}
os.environ |= {"AWS_SHARED_CREDENTIALS_FILE": os.path.abspath("none"), "AWS_EC2_METADATA_DISABLED": "true"}
for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
    os.environ.pop(name, None)


def write(answer, warning):
    Path("print-token").write_text(f"#!/bin/sh\n{warning}\necho '{json.dumps(answer)}'\n")
    Path("print-token").chmod(0o700)


def python():
    credentials, _ = google.auth.load_credentials_from_file("account.json")
    try:
        return credentials.retrieve_subject_token(None)
    except json.JSONDecodeError as error:
        assert not isinstance(error, GoogleAuthError)
        return str(error)


seen = {}
for name, warning in {"quiet": "", "warns": "echo 'warning: deprecated option' >&2", "later": "(sleep 1; echo done >&2) &"}.items():
    write(google_says, warning)
    node = subprocess.run(["node", "see.mjs"], capture_output=True, text=True, check=True, timeout=60).stdout.strip().partition(":")[0]
    seen[name] = python(), node
    write(aws_says, warning)
    aws = Session().get_credentials().get_frozen_credentials().secret_key
    print(f"{name}: Python {seen[name][0]!r}, Node {node!r}, botocore {aws!r}")
    assert aws == "hush-key"
assert seen["quiet"] == ("hush-token", "hush-token")
assert seen["warns"][0] == "Expecting value: line 1 column 1 (char 0)"
assert seen["later"][0].startswith("Extra data: line 2 column 1")
for name in ("warns", "later"):
    assert seen[name][1] == "The executable returned an invalid response"
END
venv/bin/python see.py
