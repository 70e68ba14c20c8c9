#!/usr/bin/env bash
# pass-import 3.5 (pimport): what it makes of an SSH key, a card and a field of one's own in an export of Bitwarden.
# Seen: of an item of the kind "SSH key" `pimport --all` writes a text such as {'privateKey': '-----BEGIN …\n…', …}: Python's way to print a dict, with
# a backslash and an n for each line end, which ssh-keygen does not take for a key and json.loads not for JSON. Without --all the key is not there, nor
# is the number of a card, nor a field that was added to a login; the item is, and is counted: "Passwords imported: 3", exit code 0. Password, user
# name, address and notes are there either way. If the old vault is then deleted, the keys are lost. Give --all, move SSH keys by hand,
# and compare all values first. Guess: what is not carried over is named, and a key stays a key. Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check pass-import==3.5
cat >see.py <<'END'
import ast
import csv
import json
import subprocess
from pathlib import Path


def run(*words, check=True):
    return subprocess.run(words, capture_output=True, text=True, check=check, timeout=60)


run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "app", "-f", "key")
private = Path("key").read_text()
login = {"username": "app", "password": "correct horse battery", "totp": None, "uris": [{"uri": "db.example"}]}
items = [
    {"type": 1, "name": "db", "notes": "a note", "login": login, "fields": [{"name": "token", "value": "hush", "type": 1}]},
    {"type": 3, "name": "card", "card": {"number": "4111", "code": "123"}},
    {"type": 5, "name": "deploy", "sshKey": {"privateKey": private, "publicKey": Path("key.pub").read_text()}},
]
for item in items:
    item |= {"id": item["name"], "folderId": "work", "favorite": False}
export = {"encrypted": False, "folders": [{"id": "work", "name": "work"}], "items": items}
Path("export.json").write_text(json.dumps(export))


def imported(name, *words):
    """The rows that pimport writes, by their titles, and what it counts."""
    done = run("venv/bin/pimport", "csv", "bitwarden", "export.json", "--out", name, *words)
    assert "Passwords imported: 3" in done.stdout
    with Path(name).open(newline="") as file:
        rows = [{key: value for key, value in row.items() if value} for row in csv.DictReader(file)]
    for row in rows:
        print(*words, row)
    return rows


def is_key(text):
    Path("try").write_text(text)
    Path("try").chmod(0o600)
    return run("ssh-keygen", "-y", "-f", "try", check=False).returncode == 0


short, whole = imported("short.csv"), imported("whole.csv", "--all")
named = {"group": "work", "title": "deploy"}
kept = {"title": "db", "group": "work", "login": "app", "password": login["password"], "url": "db.example", "comments": "a note"}
assert short == [kept, {"group": "work", "title": "card"}, named]
written = whole[2].pop("sshKey")
assert whole == [kept | {"token": "hush"}, {"group": "work", "title": "card", "number": "4111", "code": "123"}, named]
assert ast.literal_eval(written) == items[2]["sshKey"]
assert is_key(private) and not is_key(written)
try:
    json.loads(written)
    raise SystemExit("it is JSON")
except json.JSONDecodeError as error:
    print("as JSON:", error)
END
venv/bin/python see.py
