#!/usr/bin/env bash
# toml 0.10.2 of PyPI: dump() writes a backslash before an x in such a way that no reader takes the file, or reads another value.
# Seen: of the user name CORP\xavier, and of the path C:\keys\x509.pem, dumps() leaves the backslash single, which is no escape of TOML:
# toml itself, tomllib of Python, tomlkit 0.15.2, and smol-toml 1.9.1 and @iarna/toml 3.0.0 of npm refuse the whole file, so that after one change by
# a program all settings in it are lost to all programs. A password that begins with \x41 is written as \u0041, and pa\\x41 as pa\\u0041: all five read
# A and pa\u0041 without an error. Before other letters the backslash is doubled. A password that is a quotation mark alone is written rightly, and
# read by toml as empty. tomlkit writes all of them rightly. For programs that write TOML: tomlkit or tomli-w. Guess: what was written is read
# back. Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check toml==0.10.2 tomlkit==0.15.2
npm install --silent --no-fund --no-audit smol-toml@1.9.1 @iarna/toml@3.0.0
cat >read.mjs <<'END'
import { readFileSync } from "node:fs";
import iarna from "@iarna/toml";
import { parse } from "smol-toml";

const text = readFileSync("app.toml", "utf8");
const tried = (read) => {
  try {
    return read(text).value;
  } catch {
    return null;
  }
};
console.log(JSON.stringify({ "smol-toml": tried(parse), iarna: tried(iarna.parse) }));
END
cat >see.py <<'END'
import json
import subprocess
import tomllib
from pathlib import Path

import toml
import tomlkit


def tried(loads, text):
    try:
        return str(loads(text)["value"])
    except ValueError:
        return None


def see(text, value):
    """What each reader has for the value in this text, None where it refuses the text."""
    Path("app.toml").write_text(text)
    seen = json.loads(subprocess.run(["node", "read.mjs"], capture_output=True, check=True, timeout=60).stdout)
    seen |= {reader.__name__: tried(reader.loads, text) for reader in (toml, tomllib, tomlkit)}
    print(f"{value} written as {text.splitlines()[-1]}: {seen}")
    return seen


VALUES = {r"CORP\xavier": None, r"C:\keys\x509.pem": None, r"\x41": "A", r"pa\\x41": r"pa\u0041", r"CORP\app": r"CORP\app", '"': '"'}
for value, read in VALUES.items():
    settings = {"host": "db", "value": value}
    seen = see(toml.dumps(settings), value)
    assert seen.pop("toml") == ("" if value == '"' else read)
    assert set(seen.values()) == {read}
    seen = see(tomlkit.dumps(settings), value)
    assert seen.pop("toml") == ("" if value == '"' else value)
    assert set(seen.values()) == {value}
END
venv/bin/python see.py
