#!/usr/bin/env bash
# python-hcl2 8.1.4 and @cdktf/hcl2json 0.21.0: they read another password from a .tfvars file than the Go library of HCL, which Terraform reads with.
# Seen: hcl2.load gives `db = "hush"` as "hush" with the quotes as its first and last character, keeps \" as two, and of a heredoc the
# marks too; python-hcl2 7.3.1 gave hush. With strip_string_quotes the quotes are gone; a heredoc has its marks still. Where a password has
# ${s} or %{s}, which HCL writes as $${s} and %%{s}, both versions keep the doubled sign, and so does hcl2json, which is made from the Go library;
# where it has ${ alone, python-hcl2 ends with an error that shows it. pygohcl 1.2.9, which calls the Go library, gives the
# password that was written. Guess: a reader of HCL gives the values of strings. Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check python-hcl2==8.1.4 pygohcl==1.2.9
python3 -m venv before
before/bin/pip install -q --disable-pip-version-check python-hcl2==7.3.1
npm install --silent --no-fund --no-audit @cdktf/hcl2json@0.21.0
cat >secrets.tfvars <<'END'
plain = "hush"
quote = "hu\"sh"
dollar = "hu$${s}h"
percent = "hu%%{s}h"
lines = <<EOT
hu
sh
EOT
END
cat >open.tfvars <<'END'
dollar = "hu$${sh"
END
cat >read.py <<'END'
import json
import sys

import hcl2

options = {}
if sys.argv[2:]:
    options["serialization_options"] = hcl2.SerializationOptions(strip_string_quotes=True)
with open(sys.argv[1]) as file:
    try:
        print(json.dumps(hcl2.load(file, **options)))
    except Exception as error:
        print(json.dumps([type(error).__name__, "hu$${sh" in str(error)]))
END
cat >read.cjs <<'END'
const fs = require("node:fs");
const { parse } = require("@cdktf/hcl2json");

parse("secrets.tf", fs.readFileSync("secrets.tfvars", "utf8")).then((read) => console.log(JSON.stringify(read)));
END
cat >see.py <<'END'
import json
import subprocess
import sys
from pathlib import Path

import pygohcl


def read(*words):
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=120)
    return json.loads(done.stdout)


file = "secrets.tfvars"
by_go = pygohcl.loads(Path(file).read_text())
seen = {
    "python-hcl2 8": read(sys.executable, "read.py", file),
    "python-hcl2 8, strip_string_quotes": read(sys.executable, "read.py", file, "strip"),
    "python-hcl2 7": read("before/bin/python", "read.py", file),
    "hcl2json": read("node", "read.cjs"),
}
print("Go:", by_go)
for reader, values in seen.items():
    print(f"{reader}: {values}")
assert by_go == {"plain": "hush", "quote": 'hu"sh', "dollar": "hu${s}h", "percent": "hu%{s}h", "lines": "hu\nsh\n"}
doubled = {"dollar": "hu$${s}h", "percent": "hu%%{s}h"}
assert seen == {
    "python-hcl2 8": {
        "plain": '"hush"',
        "quote": '"hu\\"sh"',
        "dollar": '"hu$${s}h"',
        "percent": '"hu%%{s}h"',
        "lines": '"<<EOT\nhu\nsh\nEOT"',
    },
    "python-hcl2 8, strip_string_quotes": by_go | doubled | {"lines": "<<EOT\nhu\nsh\nEOT"},
    "python-hcl2 7": by_go | doubled | {"lines": "hu\nsh"},
    "hcl2json": by_go | doubled,
}
alone = [read(sys.executable, "read.py", "open.tfvars"), read("before/bin/python", "read.py", "open.tfvars")]
print("the sign alone:", pygohcl.loads(Path("open.tfvars").read_text()), alone)
assert pygohcl.loads(Path("open.tfvars").read_text()) == {"dollar": "hu${sh"}
assert alone == [["UnexpectedCharacters", True], ["UnexpectedCharacters", True]]
END
venv/bin/python see.py
