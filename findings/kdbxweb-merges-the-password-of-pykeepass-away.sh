#!/usr/bin/env bash
# pykeepass 4.2.0 and kdbxweb 2.1.1 (the library of KeeWeb): a password that pykeepass set is lost when two copies of the file are merged.
# Seen: `entry.password = …` and `save()` leave the entry's time of modification as it was and put nothing into its history. kdbxweb merges
# two copies by that time: merged into the copy on a laptop the old password stays, the other way round the new one, and in neither is there
# a trace of the other. After `save_history()` and `touch(modify=True)` both merges give the new one. An entry that
# delete_entry took out is back after either merge. Guess: who changes a file leaves what a merge needs.
# Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check pykeepass==4.2.0
npm install --silent --no-fund --no-audit kdbxweb@2.1.1 hash-wasm@4.13.0
cat >rotate.py <<'END'
import shutil
from datetime import UTC, datetime, timedelta

from pykeepass import PyKeePass, create_database


def rotate(name, *, with_time):
    """A copy of the laptop's file in which the password was changed."""
    shutil.copy("laptop.kdbx", name)
    vault = PyKeePass(name, password="master")
    entry = vault.find_entries(title="db", first=True)
    before = entry.mtime
    if with_time:
        entry.save_history()
        entry.touch(modify=True)
    entry.password = "new"
    vault.save()
    entry = PyKeePass(name, password="master").find_entries(title="db", first=True)
    print(f"{name}: {entry.password}, modified {before} -> {entry.mtime}, history: {len(entry.history)}")
    assert (entry.mtime > before) is with_time


vault = create_database("laptop.kdbx", password="master")
made = vault.add_entry(vault.root_group, "db", "app", "old")
made.mtime = datetime.now(UTC) - timedelta(hours=1)
vault.save()
rotate("plain.kdbx", with_time=False)
rotate("touched.kdbx", with_time=True)
vault = PyKeePass("laptop.kdbx", password="master")
vault.delete_entry(vault.find_entries(title="db", first=True))
vault.save("deleted.kdbx")
assert PyKeePass("deleted.kdbx", password="master").entries == []
END
cat >merge.mjs <<'END'
import assert from "node:assert";
import fs from "node:fs";
import { argon2d, argon2id } from "hash-wasm";
import kdbxweb from "kdbxweb";

kdbxweb.CryptoEngine.setArgon2Impl(async (password, salt, memorySize, iterations, hashLength, parallelism, type) => {
  const derive = type === kdbxweb.CryptoEngine.Argon2TypeArgon2d ? argon2d : argon2id;
  const options = { memorySize, iterations, hashLength, parallelism, outputType: "binary" };
  return (await derive({ ...options, password: new Uint8Array(password), salt: new Uint8Array(salt) })).buffer;
});
const read = (name) => {
  const bytes = new Uint8Array(fs.readFileSync(name));
  return kdbxweb.Kdbx.load(bytes.buffer, new kdbxweb.Credentials(kdbxweb.ProtectedValue.fromString("master")));
};
const merged = async (into, from) => {
  const file = await read(into);
  file.merge(await read(from));
  const [entry] = file.getDefaultGroup().entries;
  const passwords = [entry, ...entry.history].map((one) => one.fields.get("Password").getText());
  console.log(`${from} merged into ${into}:`, passwords);
  return passwords;
};
assert.deepEqual(await merged("laptop.kdbx", "plain.kdbx"), ["old"]);
assert.deepEqual(await merged("plain.kdbx", "laptop.kdbx"), ["new"]);
assert.deepEqual(await merged("laptop.kdbx", "touched.kdbx"), ["new", "old"]);
assert.equal((await merged("touched.kdbx", "laptop.kdbx"))[0], "new");
assert.deepEqual(await merged("laptop.kdbx", "deleted.kdbx"), ["old"]);
assert.deepEqual(await merged("deleted.kdbx", "laptop.kdbx"), ["old"]);
END
venv/bin/python rotate.py
node merge.mjs
