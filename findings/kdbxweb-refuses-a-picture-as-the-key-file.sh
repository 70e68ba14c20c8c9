#!/usr/bin/env bash
# kdbxweb 2.1.1 (the library of KeeWeb) with pykeepass 4.2.0: a KeePass file whose key file is an SVG picture, or other XML, cannot be opened.
# Seen: any file may be the key file of a KeePass database; what is no key of KeePass's own forms is hashed. pykeepass makes and opens a database with a PNG,
# a text, a PEM key, an SVG and a property list. kdbxweb opens the first three, and says "key file without meta" of the SVG and the property
# list, though password and key file are right: what parses as XML is taken for KeePass's XML form, and is refused where it is another. So a
# database that Python made stays closed in KeeWeb. Take a key file of 32 random bytes, which both take for the key itself.
# Guess: XML of another kind is a file as any other. Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check pykeepass==4.2.0
npm install --silent --no-fund --no-audit kdbxweb@2.1.1 hash-wasm@4.13.0
cat >see.cjs <<'END'
const { readFileSync } = require("node:fs");
const { argon2d } = require("hash-wasm");
const { CryptoEngine, Kdbx, KdbxCredentials, ProtectedValue } = require("kdbxweb");

CryptoEngine.setArgon2Impl(async (password, salt, memorySize, iterations, hashLength, parallelism) => {
  const given = { password: new Uint8Array(password), salt: new Uint8Array(salt), memorySize, iterations, hashLength, parallelism };
  return (await argon2d({ ...given, outputType: "binary" })).buffer;
});
const see = async () => {
  const credentials = new KdbxCredentials(ProtectedValue.fromString("hush"), new Uint8Array(readFileSync("key")));
  await credentials.ready;
  const file = await Kdbx.load(new Uint8Array(readFileSync("app.kdbx")).buffer, credentials);
  return file.getDefaultGroup().entries[0].fields.get("Password").getText();
};
see().then(console.log, (error) => console.log(error.message));
END
cat >see.py <<'END'
import subprocess
from pathlib import Path

from pykeepass import PyKeePass, create_database

file, key = Path("app.kdbx"), Path("key")


def see(content):
    """The password that kdbxweb reads from a database with that key file, or what it says; pykeepass reads it."""
    file.unlink(missing_ok=True)
    key.write_bytes(content)
    made = create_database(file, password="hush", keyfile=key)
    made.add_entry(made.root_group, "db", "app", "secret")
    made.save()
    assert PyKeePass(file, password="hush", keyfile=key).entries[0].password == "secret"
    done = subprocess.run(["node", "see.cjs"], capture_output=True, text=True, check=True, timeout=60)
    print(content[:50], done.stdout.strip())
    return done.stdout.strip()


refused = "Error InvalidArg: key file without meta"
assert see(bytes(range(32))) == "secret"
assert see(b"\x89PNG\r\n\x1a\n" + bytes(range(256))) == "secret"
assert see(b"a text that nobody knows\n") == "secret"
assert see(b"-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA\n-----END PRIVATE KEY-----\n") == "secret"
assert see(b'<svg xmlns="svg"><path d="M0 0h8v8z"/></svg>\n') == refused
assert see(b'<?xml version="1.0"?>\n<plist version="1.0"><dict><key>a</key></dict></plist>\n') == refused
END
venv/bin/python see.py
