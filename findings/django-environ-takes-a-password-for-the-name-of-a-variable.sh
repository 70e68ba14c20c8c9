#!/usr/bin/env bash
# django-environ 0.14.0: a value that begins with a dollar sign names another variable.
# Seen: with DB_PASSWORD='$hunter2' the read fails, and the error is "Set the hunter2 environment variable": what is
# logged at the start is the password without its first character. Where a variable of that name exists, its value is the
# password. A dollar sign further on is kept. Guess: env.str() gives the text as it is.
# Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check django-environ==0.14.0
cat >see.py <<'END'
import os

import environ

env = environ.Env()
os.environ.update({"DB_PASSWORD": "$hunter2", "OTHER": "$COLOUR", "COLOUR": "red", "INNER": "hun$ter2"})
try:
    env.str("DB_PASSWORD")
    said = "no error"
except environ.ImproperlyConfigured as error:
    said = str(error)
print("$hunter2:", said)
assert said == "Set the hunter2 environment variable"
assert env.str("OTHER") == "red"
assert env.str("INNER") == "hun$ter2"
END
venv/bin/python see.py
