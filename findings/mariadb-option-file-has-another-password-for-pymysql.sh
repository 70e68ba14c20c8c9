#!/usr/bin/env bash
# MariaDB 10.11.18 (Debian) and PyMySQL 1.2.4: one my.cnf is two passwords where it holds #, a backslash or a comment after quotes.
# Seen: of `password = pa#ss` MariaDB's programs read pa (the rest is a comment), and PyMySQL's read_default_file reads pa#ss; of `pa\sss`
# the programs read "pa ss" with a blank; of `"pa;ss" # note` they read pa;ss, and PyMySQL the quotes and the note too. In quotes, without
# a backslash, both read the same. Nothing warns: the server refuses one of them. Guess: read_default_file reads what the client reads.
# Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check PyMySQL==1.2.4
apt-get download -q mariadb-client-core=1:10.11.18-0+deb12u1 >/dev/null 2>&1
for file in *.deb; do dpkg -x "$file" root; done
cat >see.py <<'END'
import subprocess
from pathlib import Path

import pymysql.optionfile


def both(written):
    """What MariaDB's own reader and PyMySQL's take for the password."""
    Path("my.cnf").write_text(f"[client]\nuser = app\npassword = {written}\n")
    program = "root/usr/bin/my_print_defaults"
    lines = subprocess.run(
        [program, "--defaults-file=./my.cnf", "client"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    mariadb = next(line.removeprefix("--password=") for line in lines if line.startswith("--password="))
    parser = pymysql.optionfile.Parser()
    parser.read("my.cnf")
    python = parser.get("client", "password")
    print(f"{written}: MariaDB reads {mariadb!r}, PyMySQL {python!r}")
    return mariadb, python


assert both("plain") == ("plain", "plain")
assert both("pa#ss") == ("pa", "pa#ss")
assert both(r"pa\sss") == ("pa ss", r"pa\sss")
assert both(r"pa\\ss") == (r"pa\ss", r"pa\\ss")
assert both('"pa;ss" # note') == ("pa;ss", '"pa;ss" # note')
assert both('"pa#ss"') == ("pa#ss", "pa#ss")
END
venv/bin/python see.py
