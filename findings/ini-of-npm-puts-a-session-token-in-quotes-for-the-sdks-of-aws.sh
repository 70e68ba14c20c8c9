#!/usr/bin/env bash
# ini 6.0.0 of npm, botocore 1.44.8, @smithy/shared-ini-file-loader 4.7.2: a change of one profile breaks the session token of another.
# Seen: ini.parse and ini.stringify of ~/.aws/credentials put each value with an equals sign in quotes. A session token often ends with one,
# since it is base64. botocore, Node's loader and Python's configparser read the quotes as a part of the token, so that the service refuses it as
# invalid. In other values # and ; get a backslash, which is read as a part of the password too. ini itself reads back what was there, so that a
# tool that writes the file and checks it finds nothing, and profiles that the tool did not touch are changed with the one that it did.
# For tools in Node that store credentials: write such a file with `aws configure set`, or line by line. Guess: a value without quotes,
# which each of the four reads in one way, stays without quotes. Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check botocore==1.44.8
npm install --silent --no-fund --no-audit ini@6.0.0 @smithy/shared-ini-file-loader@4.7.2
cat >see.mjs <<'END'
import { readFileSync, writeFileSync } from "node:fs";
import { loadSharedConfigFiles } from "@smithy/shared-ini-file-loader";
import ini from "ini";

const [change] = process.argv.slice(2);
if (change) {
  const file = ini.parse(readFileSync("credentials", "utf8"));
  file.other.aws_secret_access_key = change;
  writeFileSync("credentials", ini.stringify(file));
}
const own = ini.parse(readFileSync("credentials", "utf8"));
const sdk = (await loadSharedConfigFiles({ filepath: "credentials", configFilepath: "credentials" })).credentialsFile;
console.log(JSON.stringify({ ini: own, node: sdk }));
END
cat >see.py <<'END'
import configparser
import json
import subprocess
from pathlib import Path

from botocore.configloader import raw_config_parse

TOKEN, NEW = "IQoJb3JpZ2luX2VjE//wEaDGV1==", "secret#of;app"
Path("credentials").write_text(
    f"[app]\naws_access_key_id=AKIAEXAMPLE\naws_secret_access_key=abc/def+ghi\naws_session_token={TOKEN}\n"
    "[other]\naws_access_key_id=AKIAOTHER\naws_secret_access_key=before\n"
)


def readings(*change):
    """The token of one profile and the key of the other, by each reader, after ini has written this key."""
    done = subprocess.run(["node", "see.mjs", *change], capture_output=True, text=True, check=True, timeout=60)
    parser = configparser.RawConfigParser()
    parser.read("credentials")
    files = json.loads(done.stdout) | {"botocore": raw_config_parse("credentials"), "configparser": parser}
    seen = {name: (file["app"]["aws_session_token"], file["other"]["aws_secret_access_key"]) for name, file in files.items()}
    print(f"after a change to {change}: {seen}")
    return seen


assert set(readings().values()) == {(TOKEN, "before")}
after = readings(NEW)
assert after.pop("ini") == (TOKEN, NEW)
assert set(after) == {"node", "botocore", "configparser"}
assert set(after.values()) == {(f'"{TOKEN}"', r"secret\#of\;app")}
END
venv/bin/python see.py
