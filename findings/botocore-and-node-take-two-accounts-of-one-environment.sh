#!/usr/bin/env bash
# botocore 1.44.8 and @aws-sdk/credential-provider-node 3.972.99: of one environment Python and Node take the keys of two accounts.
# Seen: with AWS_PROFILE and a pair of keys in the environment botocore takes the pair, and Node the profile (with a warning). With
# AWS_DEFAULT_PROFILE botocore takes that profile, and Node the default one. Where the secret half of the pair is absent or empty, botocore
# ends with PartialCredentialsError, and Node takes the default profile without a word. With an empty AWS_PROFILE botocore
# ends with ProfileNotFound, and Node takes the pair. Guess: the SDKs of one service agree whose keys an environment means.
# Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check botocore==1.44.8
npm install --silent --no-fund --no-audit @aws-sdk/credential-provider-node@3.972.99
cat >who.py <<'END'
import botocore.session

try:
    print(botocore.session.Session().get_credentials().access_key)
except Exception as error:
    print(type(error).__name__)
END
cat >who.mjs <<'END'
import { defaultProvider } from "@aws-sdk/credential-provider-node";

try {
  console.log((await defaultProvider()()).accessKeyId);
} catch (error) {
  console.log(error.name);
}
END
mkdir .aws
cat >.aws/credentials <<'END'
[default]
aws_access_key_id = of-default
aws_secret_access_key = hush1
[team]
aws_access_key_id = of-team
aws_secret_access_key = hush2
END
cat >see.py <<'END'
import os
import subprocess
from pathlib import Path

clean = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
clean |= {"HOME": str(Path.cwd()), "AWS_EC2_METADATA_DISABLED": "true"}


def see(**variables):
    """Whose key botocore takes, whose Node takes, and whether Node warns."""

    def run(*words):
        return subprocess.run(words, env=clean | variables, capture_output=True, text=True, check=True)

    python, node = run("venv/bin/python", "who.py"), run("node", "who.mjs")
    seen = python.stdout.strip(), node.stdout.strip(), "Multiple credential sources detected" in node.stderr
    print(variables, seen)
    return seen


pair = {"AWS_ACCESS_KEY_ID": "of-the-environment", "AWS_SECRET_ACCESS_KEY": "hush3"}
half = {"AWS_ACCESS_KEY_ID": "of-the-environment"}
assert see(**pair) == ("of-the-environment", "of-the-environment", False)
assert see(AWS_PROFILE="team") == ("of-team", "of-team", False)
assert see(AWS_PROFILE="team", **pair) == ("of-the-environment", "of-team", True)
assert see(AWS_DEFAULT_PROFILE="team") == ("of-team", "of-default", False)
assert see(**half) == ("PartialCredentialsError", "of-default", False)
assert see(**half, AWS_SECRET_ACCESS_KEY="") == ("PartialCredentialsError", "of-default", False)
assert see(AWS_PROFILE="", **pair) == ("ProfileNotFound", "of-the-environment", False)
END
venv/bin/python see.py
