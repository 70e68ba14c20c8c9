#!/usr/bin/env bash
# keeper-secrets-manager-core 17.3.0 of PyPI with @keeper-security/secrets-manager-core 17.5.0 of npm: one notation of Keeper gives two passwords.
# Seen: both SDKs read RECORD/field/NAME, where NAME is a label or a type. Python looks for the label first, in all fields, and then for the type. Node
# (getValue) takes the first field of which either fits. A login has its own password, and behind it a field with the label "password", for the
# database: of db/field/password Python gives the second, and Node the first. So it is with custom fields. The type in capitals, PASSWORD, is found by Python
# and not by Node. Where two records have the title "db", Python ends with an error, and Node gives the password of the one that comes first.
# A label that is no type has one value in both. For those who use both: ask by the UID of the record, and give each field a label that
# is no type. Guess: one notation has one meaning. Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check keeper-secrets-manager-core==17.3.0
npm install --silent --no-fund --no-audit @keeper-security/secrets-manager-core@17.5.0
cat >see.mjs <<'END'
import { readFileSync } from "node:fs";
import { getValue } from "@keeper-security/secrets-manager-core";

const [records, notations] = JSON.parse(readFileSync(0, "utf8"));
const seen = notations.map((notation) => {
  try {
    return getValue({ records }, notation);
  } catch (error) {
    return error.message;
  }
});
console.log(JSON.stringify(seen));
END
cat >see.py <<'END'
import json
import subprocess

from keeper_secrets_manager_core import SecretsManager, mock
from keeper_secrets_manager_core.storage import InMemoryKeyValueStorage

UID = "AAAAAAAAAAAAAAAAAAAAAA"


def answer(manager, records):
    """Let the SDK's own stand-in for the server send these records, encrypted as the server does."""
    sent = mock.Response(client=manager)
    for uid, title, fields, custom in records:
        record = sent.add_record(title=title, uid=uid)
        for kind, label, value in fields:
            record.field(kind, value, label=label)
        for kind, label, value in custom:
            record.custom_field(label, value, field_type=kind)
    return sent


def see(records, notations):
    manager = SecretsManager(config=InMemoryKeyValueStorage(mock.MockConfig.make_json()))
    queue = mock.ResponseQueue(client=manager)
    for _ in range(1 + 2 * len(notations)):
        queue.add_response(answer(manager, records))
    given = [{"recordUid": record.uid, "data": record.dict} for record in manager.get_secrets()]
    assert len(given) == len(records)
    by_python = []
    for notation in notations:
        try:
            by_python.append(manager.get_notation(notation))
        except ValueError as error:
            by_python.append(str(error))
    request = json.dumps([given, notations])
    done = subprocess.run(["node", "see.mjs"], input=request, capture_output=True, text=True, check=True, timeout=60)
    return dict(zip(notations, zip(by_python, json.loads(done.stdout), strict=True), strict=True))


login = [("login", None, "app"), ("password", None, "of the site"), ("secret", "password", "of the database"), ("secret", "pin", "1234")]
custom = [("secret", "url", "first"), ("url", None, "second")]
one = see([(UID, "db", login, custom)], ["db/field/password", "db/field/PASSWORD", "db/field/pin", f"{UID}/field/pin", "db/custom_field/url"])
swapped = see([(UID, "db", login, custom[::-1])], ["db/custom_field/url"])
two = see([(UID, "db", login, []), ("B" * 22, "db", [("password", None, "other")], [])], ["db/field/password"])
for seen in one, swapped, two:
    for notation, (by_python, by_node) in seen.items():
        print(f"{notation}: Python {by_python!r}, Node {by_node!r}")
assert one == {
    "db/field/password": ("of the database", "of the site"),
    "db/field/PASSWORD": ("of the site", f"Field PASSWORD not found in the record {UID}"),
    "db/field/pin": ("1234", "1234"),
    f"{UID}/field/pin": ("1234", "1234"),
    "db/custom_field/url": ("first", "first"),
}
assert swapped == {"db/custom_field/url": ("first", "second")}
assert two == {"db/field/password": ("Notation error - multiple records match record UID/Title: 'db'", "of the site")}
END
venv/bin/python see.py
