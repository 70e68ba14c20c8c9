#!/usr/bin/env bash
# keyrings.alt 5.0.2 with keyring 25.7.0: its files know one entry for user names that differ in case alone.
# Seen: setting the password of bob replaces that of Bob, and deleting BOB deletes both; services that differ in case are
# two. Nothing warns of it. Guess: user names are compared as they are.
# Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check keyrings.alt==5.0.2 keyring==25.7.0
cat >see.py <<'END'
from keyrings.alt.file import PlaintextKeyring

keyring = PlaintextKeyring()
keyring.file_path = "keyring.cfg"
keyring.set_password("service", "Bob", "of Bob")
keyring.set_password("service", "bob", "of bob")
keyring.set_password("Service", "bob", "of another service")
print("Bob:", keyring.get_password("service", "Bob"))
assert keyring.get_password("service", "Bob") == "of bob"
assert keyring.get_password("service", "bob") == "of bob"
keyring.delete_password("service", "BOB")
print("bob, after BOB is deleted:", keyring.get_password("service", "bob"))
assert keyring.get_password("service", "bob") is None
assert keyring.get_password("Service", "bob") == "of another service"
END
venv/bin/python see.py
