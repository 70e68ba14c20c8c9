#!/usr/bin/env bash
# sqlite3 of Python, APSW 3.54.1.0 and SQLCipher (sqlcipher3 0.6.4): the statement that encrypts a database in one is passed over in the others.
# Seen: after `PRAGMA key = '…'` SQLCipher writes a file in which no value can be found; sqlite3 and APSW take the same statement without an
# error and write the password as it is, and so they do with a second key at the next opening. What tells them apart is `PRAGMA cipher_version`:
# no row means that nothing is encrypted. Guess: a library that cannot encrypt refuses a key. Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check apsw==3.54.1.0 sqlcipher3==0.6.4
cat >see.py <<'END'
import sqlite3
from pathlib import Path

import apsw
import sqlcipher3

LIBRARIES = {
    "sqlcipher3": sqlcipher3.connect,
    "sqlite3": sqlite3.connect,
    "apsw": apsw.Connection,
}


def rows(connection, statement):
    return list(connection.cursor().execute(statement))


seen = {}
for name, connect in LIBRARIES.items():
    one = connect(f"{name}.db")
    key = rows(one, "PRAGMA key = 'the first key'")
    version = rows(one, "PRAGMA cipher_version")
    rows(one, "CREATE TABLE secret (value)")
    rows(one, "BEGIN")
    rows(one, "INSERT INTO secret VALUES ('hush-hush')")
    rows(one, "COMMIT")
    one.close()
    again = connect(f"{name}.db")
    rows(again, "PRAGMA key = 'another key'")
    try:
        found = rows(again, "SELECT value FROM secret")
    except sqlcipher3.DatabaseError as error:
        found = str(error)
    again.close()
    seen[name] = b"hush-hush" in Path(f"{name}.db").read_bytes(), bool(version), found
    print(f"{name}: answer {key}, cipher {version}, password in the file: {seen[name][0]}, with another key: {found}")
assert seen["sqlcipher3"] == (False, True, "file is not a database")
assert seen["sqlite3"] == seen["apsw"] == (True, False, [("hush-hush",)])
END
venv/bin/python see.py
