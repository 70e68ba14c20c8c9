#!/usr/bin/env bash
# kdbxweb 2.1.1 (the library of KeeWeb) and pykeepass 4.2.0: an entry that was deleted is found before the one that replaced it.
# Seen: kdbxweb deletes the entry "db", which moves it into the group "Recycle Bin", and makes another "db" with a new password in the group "prod", which
# was made later than the bin. find_entries(title="db", first=True) of pykeepass gives the deleted entry with the old password, and so does a
# search by user name; where nothing replaced the entry, its password is given as if it had never been deleted. pykeepass's own
# trash_entry leaves the same. Where "prod" is older than the bin, the new one is found first: the order is that of the groups in the file.
# A search within a group, or by the path, finds the right one. So a script goes on with a password that its owner deleted, and a test
# with a young file does not show it. Guess: what is in the bin is found only if it is asked for.
# To do: leave out entries whose group is database.recyclebin_group or one within it, or search by path. Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export HOME=$work
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check pykeepass==4.2.0
npm install --silent --no-fund --no-audit kdbxweb@2.1.1 hash-wasm@4.13.0
cat >replace.mjs <<'END'
import fs from "node:fs";
import { argon2d, argon2id } from "hash-wasm";
import kdbxweb from "kdbxweb";

kdbxweb.CryptoEngine.setArgon2Impl(async (password, salt, memorySize, iterations, hashLength, parallelism, type) => {
  const derive = type === kdbxweb.CryptoEngine.Argon2TypeArgon2d ? argon2d : argon2id;
  const options = { memorySize, iterations, hashLength, parallelism, outputType: "binary" };
  return (await derive({ ...options, password: new Uint8Array(password), salt: new Uint8Array(salt) })).buffer;
});
const [name, groupFirst, replaced] = process.argv.slice(2);
const database = kdbxweb.Kdbx.create(new kdbxweb.Credentials(kdbxweb.ProtectedValue.fromString("master")), "app");
const root = database.getDefaultGroup();
const recycleBin = database.getGroup(database.meta.recycleBinUuid);
const add = (group, password) => {
  const entry = database.createEntry(group);
  entry.fields.set("Title", "db");
  entry.fields.set("UserName", "app");
  entry.fields.set("Password", kdbxweb.ProtectedValue.fromString(password));
  return entry;
};
const old = add(root, "old");
const prod = database.createGroup(root, "prod");
if (groupFirst === "yes") root.groups.reverse();
database.remove(old);
if (old.parentGroup !== recycleBin) throw new Error("not in the recycle bin");
if (replaced === "yes") add(prod, "new");
fs.writeFileSync(name, new Uint8Array(await database.save()));
END
for words in "later no yes" "earlier yes yes" "gone no no"; do
    read -r name first replaced <<<"$words"
    node replace.mjs "$name.kdbx" "$first" "$replaced"
done
cat >see.py <<'END'
from pykeepass import PyKeePass, create_database


def found(name):
    """The password that a search gives, by title and by user name, and that within the group, and by the path."""
    vault = PyKeePass(f"{name}.kdbx", password="master")
    prod = vault.find_groups(name="prod", first=True)
    entries = [
        vault.find_entries(title="db", first=True),
        vault.find_entries(username="app", first=True),
        vault.find_entries(title="db", group=prod, recursive=False, first=True),
        vault.find_entries(path=["prod", "db"]),
    ]
    print(name, [group.name for group in vault.root_group.subgroups], [(entry.path[0], entry.password) if entry else None for entry in entries])
    return [entry and entry.password for entry in entries]


assert found("later") == ["old", "old", "new", "new"]
assert found("earlier") == ["new", "new", "new", "new"]
assert found("gone") == ["old", "old", None, None]
vault = create_database("own.kdbx", password="master")
vault.trash_entry(vault.add_entry(vault.root_group, "db", "app", "old"))
vault.add_entry(vault.add_group(vault.root_group, "prod"), "db", "app", "new")
vault.save()
assert found("own") == ["old", "old", "new", "new"]
END
venv/bin/python see.py
