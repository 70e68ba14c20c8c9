#!/usr/bin/env bash
# PyYAML 6.0.4, ruamel.yaml 0.19.1, yaml 2.9.1 and js-yaml 5.5.0 of npm: a password that one writes as text is a number for another.
# Seen: PyYAML writes the texts 0891, 4e2 and 0o17 without quotes; ruamel.yaml, yaml and js-yaml read the numbers 891, 400 and 15. Of the
# token 12e45678 ruamel.yaml and yaml make infinity. ruamel.yaml writes the texts 1:30, yes and off without quotes; PyYAML reads 90, true
# and false. Each reads what it wrote itself as it was. Text in quotes is text for all four. Guess: text that was written stays text.
# Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check pyyaml==6.0.4 ruamel.yaml==0.19.1
npm install --silent --no-fund --no-audit js-yaml@5.5.0 yaml@2.9.1
cat >see.js <<'END'
const text = require("fs").readFileSync(0, "utf8");
const shown = (read) => Object.values(read).map((one) => typeof one === "number" ? `number ${one}` : one);
console.log(JSON.stringify({ yaml: shown(require("yaml").parse(text)), "js-yaml": shown(require("js-yaml").load(text)) }));
END
cat >see.py <<'END'
import io
import json
import math
import subprocess

import yaml
from ruamel.yaml import YAML

PASSWORDS = ["hush", "0891", "4e2", "0o17", "12e45678", "1:30", "yes", "off"]


def written_by_ruamel(values):
    written = io.StringIO()
    YAML().dump(values, written)
    return written.getvalue()


def readers(text):
    """What each of the four reads."""
    node = subprocess.run(["node", "see.js"], input=text, capture_output=True, text=True, check=True).stdout
    return {
        "PyYAML": list(yaml.safe_load(text).values()),
        "ruamel.yaml": list(YAML(typ="safe").load(text).values()),
        **json.loads(node),
    }


values = {f"p{number}": password for number, password in enumerate(PASSWORDS)}
pyyaml, ruamel = readers(yaml.safe_dump(values, sort_keys=False)), readers(written_by_ruamel(values))
quoted = readers(yaml.safe_dump(values, sort_keys=False, default_style='"'))
for writer, read in (("PyYAML", pyyaml), ("ruamel.yaml", ruamel), ("in quotes", quoted)):
    for reader, found in read.items():
        print(f"{writer}, read by {reader}: {found}")
rest = ["1:30", "yes", "off"]
assert pyyaml["PyYAML"] == PASSWORDS
assert pyyaml["ruamel.yaml"] == ["hush", 891, 400.0, 15, math.inf, *rest]
assert pyyaml["yaml"] == ["hush", "number 891", "number 400", "number 15", "number Infinity", *rest]
assert pyyaml["js-yaml"] == ["hush", "number 891", "number 400", "number 15", "12e45678", *rest]
assert ruamel["PyYAML"] == [*PASSWORDS[:5], 90, True, False]
assert ruamel["ruamel.yaml"] == ruamel["yaml"] == ruamel["js-yaml"] == PASSWORDS
assert all(found == PASSWORDS for found in quoted.values())
END
venv/bin/python see.py
