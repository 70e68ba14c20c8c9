#!/usr/bin/env bash
# dynaconf 3.3.5: a setting that comes from the environment is read as TOML, whatever it is for.
# Seen: DYNACONF_PASSWORD=1234567e8 is the number 123456700000000.0, 1_000 is 1000, 'q' loses its quotes, and @none
# is None; 0123 and {a} stay text. A generated password is another value, without an error, only where it happens to
# look so. Guess: the environment holds text, and stays text unless a validator says otherwise.
# Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check dynaconf==3.3.5
cat >see.py <<'END'
import os

GIVEN = {
    "SCIENTIFIC": ("1234567e8", 123456700000000.0),
    "GROUPED": ("1_000", 1000),
    "QUOTED": ("'q'", "q"),
    "NOTHING": ("@none", None),
    "ZERO": ("0123", "0123"),
    "BRACED": ("{a}", "{a}"),
}
os.environ.update({f"DYNACONF_{name}": text for name, (text, _) in GIVEN.items()})

from dynaconf import Dynaconf

settings = Dynaconf()
for name, (text, expected) in GIVEN.items():
    found = settings[name]
    print(f"{text} is read as {found!r}")
    assert (type(found), found) == (type(expected), expected), f"expected {expected!r}"
END
venv/bin/python see.py
