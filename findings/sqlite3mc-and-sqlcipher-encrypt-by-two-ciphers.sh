#!/usr/bin/env bash
# apsw-sqlite3mc 3.54.0.0 (SQLite3 Multiple Ciphers) and sqlcipher3 0.6.4 (SQLCipher): one `PRAGMA key` makes two kinds of file.
# Seen: both take PRAGMA key = '…' and encrypt, sqlite3mc by ChaCha20 and sqlcipher3 by AES. Each says "file is not a database" of the file of the
# other, as it does for a wrong key, so that one looks for the fault in the key. After PRAGMA cipher = 'sqlcipher', before the key, sqlite3mc
# refuses the file still; it reads and writes it where PRAGMA legacy = 4 follows, though 4 is SQLCipher's newest format. Of a file that sqlite3mc
# wrote with 'sqlcipher' and without legacy, sqlcipher3 says the same. A file that is moved keeps nothing of this in it. Write with both
# pragmas where SQLCipher shall read. Guess: one statement is one cipher, or the error says that it is another. Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check apsw-sqlite3mc==3.54.0.0 sqlcipher3==0.6.4
cat >see.py <<'END'
from pathlib import Path

import apsw
import sqlcipher3

KEY = "PRAGMA key = 'correct horse battery'"
CIPHER, LEGACY = "PRAGMA cipher = 'sqlcipher'", "PRAGMA legacy = 4"


def opened(connection, pragmas):
    for pragma in *pragmas, KEY:
        connection.execute(pragma)
    return connection


def write(connection, *pragmas):
    opened(connection, pragmas)
    for statement in "BEGIN", "CREATE TABLE secrets (value)", "INSERT INTO secrets VALUES ('hush')", "COMMIT":
        connection.execute(statement)
    connection.close()


def read(connection, *pragmas):
    try:
        return opened(connection, pragmas).execute("SELECT value FROM secrets").fetchone()[0]
    except (apsw.Error, sqlcipher3.DatabaseError) as error:
        return str(error)
    finally:
        connection.close()


def mc(name):
    return apsw.Connection(name)


def cipher(name):
    connection = sqlcipher3.connect(name, isolation_level=None)
    connection.execute("PRAGMA cipher_log_level = NONE")
    return connection


write(mc("mc.db"))
write(cipher("cipher.db"))
write(mc("half.db"), CIPHER)
write(mc("both.db"), CIPHER, LEGACY)
assert not any(b"hush" in Path(name).read_bytes() for name in ("mc.db", "cipher.db", "half.db", "both.db"))
ciphers = apsw.Connection(":memory:").execute("PRAGMA cipher").fetchone()[0]
by_mc = [read(mc("cipher.db"), *pragmas) for pragmas in ((), (CIPHER,), (CIPHER, LEGACY))]
by_cipher = [read(cipher(name)) for name in ("mc.db", "half.db", "both.db", "cipher.db")]
print("sqlite3mc, by itself", ciphers, "of SQLCipher's file:", by_mc, "; SQLCipher of sqlite3mc's files and its own:", by_cipher)
no = "file is not a database"
assert ciphers == "chacha20"
assert by_mc == [no, no, "hush"]
assert by_cipher == [no, no, "hush", "hush"]
assert read(mc("mc.db")) == read(mc("half.db"), CIPHER) == "hush"
END
venv/bin/python see.py
