#!/usr/bin/env bash
# botocore 1.44.8: a comment behind a key in ~/.aws/credentials is a part of the key; for the AWS SDK of Node it is not.
# Seen: of `aws_secret_access_key = key ; since May` botocore takes "key ; since May" for the key, so that each request has a wrong signature;
# @smithy/shared-ini-file-loader 4.7.2, which the AWS SDK for JavaScript reads the file with, takes "key". The same goes for " #" and for
# the access key. A # or ; without a blank before it is a part of the value for both. Nothing warns. Guess: one file means one key.
# Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check botocore==1.44.8
npm install --silent --no-fund --no-audit @smithy/shared-ini-file-loader@4.7.2
cat >credentials <<'END'
[default]
aws_access_key_id = id # of the build
aws_secret_access_key = key ; since May
aws_session_token = a#b;c
END
cat >see.js <<'END'
const { loadSharedConfigFiles } = require("@smithy/shared-ini-file-loader");
loadSharedConfigFiles({ filepath: "credentials", configFilepath: "credentials" }).then(
  (read) => console.log(JSON.stringify(Object.values(read.credentialsFile.default))));
END
cat >see.py <<'END'
import json
import os
import subprocess

import botocore.session

os.environ["AWS_SHARED_CREDENTIALS_FILE"] = "credentials"
read = botocore.session.Session(profile="default").get_credentials()
python = [read.access_key, read.secret_key, read.token]
node = json.loads(subprocess.run(["node", "see.js"], capture_output=True, text=True, check=True).stdout)
print("botocore:", python, "Node:", node)
assert python == ["id # of the build", "key ; since May", "a#b;c"]
assert node == ["id", "key", "a#b;c"]
END
env -u AWS_ACCESS_KEY_ID -u AWS_SECRET_ACCESS_KEY -u AWS_SESSION_TOKEN venv/bin/python see.py
