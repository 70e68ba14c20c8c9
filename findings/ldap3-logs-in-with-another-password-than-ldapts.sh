#!/usr/bin/env bash
# ldap3 2.9.1 (Python), ldapts 8.2.0 and ldapjs 3.0.7 (Node): one password is two for an LDAP server if it holds certain letters.
# Seen: for a simple bind ldap3 prepares the password by SASLprep (RFC 4013): a no-break space (Option and the space bar on a Mac) becomes a
# blank, a soft hyphen vanishes, x² is sent as x2, and an é of two characters as one. ldapts and ldapjs send UTF-8 of what they were given.
# RFC 4511 (4.2) asks clients to do as ldap3 does; a server that compares what it gets refuses by one client the password that was set by the
# other, as a wrong one. hashed() of ldap3 prepares nothing: ldap3 does not log in by the hash that it made. An umlaut of one character, blanks
# and punctuation are the same for all. Given as bytes, ldap3 sends a password as it is. Where several clients use a password:
# generate ASCII. Guess: each client sends what it was given. Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check ldap3==2.9.1
npm install --silent --no-fund --no-audit ldapts@8.2.0 ldapjs@3.0.7
cat >server.mjs <<'END'
import ldapjs from "ldapjs";
import { Client } from "ldapts";

const sent = [];
const server = ldapjs.createServer();
server.bind("dc=example", (request, response, next) => {
  sent.push(request.credentials);
  response.end();
  next();
});
server.listen(0, "127.0.0.1", async () => {
  const url = `ldap:${"//"}127.0.0.1:${server.address().port}`;
  const passwords = JSON.parse(process.argv[2]);
  for (const password of passwords) {
    await new Client({ url }).bind("cn=app,dc=example", password);
    const client = ldapjs.createClient({ url });
    await new Promise((done) => client.bind("cn=app,dc=example", password, done));
    client.destroy();
  }
  console.log(server.address().port);
  process.stdin.resume().on("end", () => {
    console.log(JSON.stringify(sent));
    process.exit();
  });
});
END
cat >see.py <<'END'
import base64
import hashlib
import json
import subprocess
import warnings

warnings.simplefilter("ignore")  # of pyasn1
import ldap3
from ldap3.utils.hashed import hashed

PASSWORDS = {"pä ss'": "pä ss'", "p\u00a0w": "p w", "p\u00adw": "pw", "x²": "x2", "e\u0301": "\u00e9"}


def bind(port, password):
    server = ldap3.Server("127.0.0.1", port, get_info=ldap3.NONE)
    assert ldap3.Connection(server, "cn=app,dc=example", password).bind()


def is_hash_of(text, password):
    digest = base64.b64encode(hashlib.sha256(password.encode()).digest()).decode()
    return text.lower() == f"{{sha256}}{digest}".lower()


words = ["node", "server.mjs", json.dumps(list(PASSWORDS))]
with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as node:
    port = int(node.stdout.readline())
    for password in PASSWORDS:
        bind(port, password)
        bind(port, password.encode())
    sent = json.loads(node.communicate(timeout=60)[0])
by_node, by_ldap3 = sent[: 2 * len(PASSWORDS)], sent[2 * len(PASSWORDS) :]
for index, (password, prepared) in enumerate(PASSWORDS.items()):
    ldapts, ldapjs = by_node[2 * index : 2 * index + 2]
    as_text, as_bytes = by_ldap3[2 * index : 2 * index + 2]
    print(f"{password!a}: ldapts {ldapts!a}, ldapjs {ldapjs!a}, ldap3 {as_text!a}, as bytes {as_bytes!a}")
    assert ldapts == ldapjs == as_bytes == password
    assert as_text == prepared
    assert is_hash_of(hashed(ldap3.HASHED_SHA256, password), password)
END
venv/bin/python see.py
