#!/usr/bin/env bash
# kdbxweb 2.1.1 (the library of KeeWeb) with pykeepass 4.2.0: opening a KeePass file and saving it takes the tabs out of each note and open field.
# Seen: a note and a field that pykeepass stored with tabs come without them from kdbxweb, and after its save() pykeepass has lost them too, though no
# entry was touched: what a table, a Makefile or a line of fstab is made of is glued together. A "\r\n" that was stored with it is "\n" afterwards.
# A protected field, such as the password, stays as it is, and so do blanks. Guess: opening and saving changes nothing. Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check pykeepass==4.2.0
npm install --silent --no-fund --no-audit kdbxweb@2.1.1 @noble/hashes@2.4.0
cat >save.mjs <<'END'
import { readFileSync, writeFileSync } from "node:fs";
import { argon2d } from "@noble/hashes/argon2.js";
import kdbxweb from "kdbxweb";

const argon2 = async (password, salt, m, t, dkLen, p) => argon2d(new Uint8Array(password), new Uint8Array(salt), { m, t, p, dkLen }).buffer;
kdbxweb.CryptoEngine.setArgon2Impl(argon2);
const file = readFileSync("app.kdbx");
const credentials = new kdbxweb.Credentials(kdbxweb.ProtectedValue.fromString("master"));
const database = await kdbxweb.Kdbx.load(file.buffer.slice(file.byteOffset, file.byteOffset + file.byteLength), credentials);
const { fields } = database.getDefaultGroup().entries[0];
const text = (name) => fields.get(name).getText?.() ?? fields.get(name);
const seen = Object.fromEntries(["Password", "Notes", "open", "closed"].map((name) => [name, text(name)]));
writeFileSync("app.kdbx", Buffer.from(await database.save()));
console.log(JSON.stringify(seen));
END
cat >see.py <<'END'
import json
import subprocess

from pykeepass import PyKeePass, create_database

LINE = "a\tb  c\r\nd"


def fields():
    entry = PyKeePass("app.kdbx", password="master").entries[0]
    return {"Password": entry.password, "Notes": entry.notes, **{name: entry.get_custom_property(name) for name in ("open", "closed")}}


database = create_database("app.kdbx", password="master")
made = database.add_entry(database.root_group, "app", "app", LINE, notes=LINE)
made.set_custom_property("open", LINE)
made.set_custom_property("closed", LINE, protect=True)
database.save()
before = fields()
in_node = json.loads(subprocess.run(["node", "save.mjs"], capture_output=True, text=True, check=True, timeout=300).stdout)
after = fields()
for name, one in {"pykeepass, stored": before, "kdbxweb": in_node, "pykeepass, after save() of kdbxweb": after}.items():
    print(f"{name}: {one}")
assert before == dict.fromkeys(before, LINE)
assert in_node == before | {"Notes": "ab  c\r\nd", "open": "ab  c\r\nd"}
assert after == before | {"Notes": "ab  c\nd", "open": "ab  c\nd"}
END
venv/bin/python see.py
