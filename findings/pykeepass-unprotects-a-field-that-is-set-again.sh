#!/usr/bin/env bash
# pykeepass 4.2.0: what a changed or deleted entry leaves in the KeePass file.
# Seen: a custom field that was stored with protect=True is unprotected once it is set again without that argument, as for a
# rotation; an attachment's content is still in the saved file after its entry was deleted, until delete_binary; an empty
# password is read as None. No warning comes with any of it. Guess: a field stays protected, and an attachment goes with its entry.
# Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check pykeepass==4.2.0
cat >see.py <<'END'
from pykeepass import PyKeePass, create_database


def saved(database):
    database.save()
    return PyKeePass("vault.kdbx", password="master")


def entry(database):
    return database.find_entries(title="db", first=True)


vault = create_database("vault.kdbx", password="master")
made = vault.add_entry(vault.root_group, "db", "app", "")
made.set_custom_property("token", "one", protect=True)
made.add_attachment(vault.add_binary(b"of the key"), "id_key")
vault = saved(vault)
print("the empty password:", repr(entry(vault).password))
assert entry(vault).password is None
print("protected:", entry(vault).is_custom_property_protected("token"))
assert entry(vault).is_custom_property_protected("token")

entry(vault).set_custom_property("token", "two")
vault = saved(vault)
print("protected, after it is set again:", entry(vault).is_custom_property_protected("token"))
assert entry(vault).get_custom_property("token") == "two"
assert not entry(vault).is_custom_property_protected("token")

vault.delete_entry(entry(vault))
vault = saved(vault)
print("after the entry is deleted:", vault.entries, vault.binaries)
assert vault.entries == []
assert vault.binaries == [b"of the key"]
vault.delete_binary(0)
assert saved(vault).binaries == []
END
venv/bin/python see.py
