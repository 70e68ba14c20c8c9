#!/usr/bin/env bash
# uWSGI 2.0.30 (pyuwsgi 2.0.30.post1): a percent sign in a value of its ini or YAML file changes the value, and at the end the next line too.
# Seen: of "env = DB_PASSWORD=100%" the program gets the password without the sign but with the whole next line behind it, and the variable
# of that line is not set. %n is the name of the file, %h the name of the host, and other letters vanish with their sign, so pa%zw is paw.
# $(HOME) is filled in, and in YAML a # cuts off the rest of the word. Nothing is logged, and the program starts. %% is one
# percent sign; --env on the command line takes the sign as it is. Passwords by a file of uWSGI: write each % twice, or hand
# them over in the environment that uWSGI itself was started with, which the program gets unchanged.
# Guess: what it does not know it leaves as it is, and a line ends with its line. Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check pyuwsgi==2.0.30.post1
cat >app.py <<'END'
import os

os.system("env >environment")
os._exit(0)
END
cat >see.py <<'END'
import os
import subprocess
from pathlib import Path

WRITTEN = {"DB_PASSWORD": "100%", "HOST": "db", "A": "pa%zw", "B": "pa%nw", "C": "pa%%w", "D": "pa$(HOME)w", "E": '"pa#w"'}


def see(*words, **environment):
    """The variables of the program that uWSGI starts with these arguments."""
    command = ["venv/bin/pyuwsgi", *words, "--http-socket", "127.0.0.1:0", "--wsgi-file", "app.py"]
    own = {"PATH": os.environ["PATH"], "HOME": "/home/app", **environment}
    subprocess.run(command, check=True, capture_output=True, env=own, timeout=60)
    lines = Path("environment").read_text().splitlines()
    found = dict(line.split("=", 1) for line in lines)
    seen = {name: found.get(name) for name in WRITTEN}
    print(words[:2], seen)
    return seen


Path("conf.ini").write_text("[uwsgi]\n" + "".join(f"env = {name}={value}\n" for name, value in WRITTEN.items()))
Path("conf.yaml").write_text("uwsgi:\n" + "".join(f"  env: {name}={value}\n" for name, value in WRITTEN.items()))
changed = {"HOST": None, "A": "paw", "B": "paconfw", "C": "pa%w", "D": "pa/home/appw"}
assert see("--ini", "conf.ini") == changed | {"DB_PASSWORD": "100env = HOST=db", "E": '"pa#w"'}
assert see("--yaml", "conf.yaml") == changed | {"DB_PASSWORD": "100  env: HOST=db", "E": '"pa'}
as_written = [word for name, value in WRITTEN.items() for word in ("--env", f"{name}={value}")]
assert see(*as_written) == WRITTEN | {"D": "pa/home/appw"}
assert see("--need-app", **WRITTEN) == WRITTEN
END
venv/bin/python see.py
