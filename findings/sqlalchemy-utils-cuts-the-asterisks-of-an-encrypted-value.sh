#!/usr/bin/env bash
# SQLAlchemy-Utils 0.43.0 (SQLAlchemy 2.1.9, cryptography 50.0.2): an encrypted column loses the asterisks at the end of a password.
# Seen: a StringEncryptedType column without further arguments gives "hush" for a stored "hush**", and "" for "*"; "hu*sh" comes back whole. The
# default engine pads with asterisks and takes away all it finds at the end. AesGcmEngine, FernetEngine and padding="pkcs5" give what was
# stored; of what is in the table already padding="pkcs5" reads nothing: InvalidPaddingError. Guess: a column gives what was put in.
# Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check sqlalchemy-utils==0.43.0 sqlalchemy==2.1.9 cryptography==50.0.2
cat >see.py <<'END'
from sqlalchemy import Column, MetaData, String, Table, create_engine, insert, select
from sqlalchemy_utils.types.encrypted.encrypted_type import AesGcmEngine, FernetEngine, StringEncryptedType

PASSWORDS = ["hush", "hush**", "*", "hu*sh"]
store = create_engine(f"sqlite:{'//'}/accounts.db")


def column(*engine, **more):
    return Table("accounts", MetaData(), Column("password", StringEncryptedType(String, "key", *engine, **more)))


def read(table):
    with store.begin() as connection:
        try:
            return list(connection.execute(select(table.c.password)).scalars())
        except Exception as error:
            return type(error).__name__


def see(*engine, **more):
    """What is read of the passwords after they were stored in a new table."""
    table = column(*engine, **more)
    table.drop(store, checkfirst=True)
    table.create(store)
    with store.begin() as connection:
        for password in PASSWORDS:
            connection.execute(insert(table).values(password=password))
    print([one.__name__ for one in engine], more, read(table))
    return read(table)


assert see(AesGcmEngine) == PASSWORDS
assert see(FernetEngine) == PASSWORDS
assert see(padding="pkcs5") == PASSWORDS
assert see() == ["hush", "hush", "", "hu*sh"]
later = read(column(padding="pkcs5"))
print("read with another padding later:", later)
assert later == "InvalidPaddingError"
END
venv/bin/python see.py
