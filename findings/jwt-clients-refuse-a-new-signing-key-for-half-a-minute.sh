#!/usr/bin/env bash
# PyJWT 2.15.1 and 2.10.1, and jose 6.2.18 of npm: after a rotation of a signing key some clients refuse tokens of the new one for half a minute.
# Seen: a key set is fetched over HTTP with the old key in it, and then has the new one too. By default PyJWT 2.15.1 and jose refuse the first tokens
# of the new key without another fetch, and take one after 31 seconds; PyJWT 2.10.1 fetches the set at once and takes them. With a pause of 0
# between fetches (cooldown_duration, cooldownDuration) PyJWT 2.15.1 and jose do as PyJWT 2.10.1. Guess: a client that meets an unknown
# key looks for it in the set.
# Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv new
python3 -m venv old
new/bin/pip install -q --disable-pip-version-check PyJWT==2.15.1 cryptography==50.0.2
old/bin/pip install -q --disable-pip-version-check PyJWT==2.10.1 cryptography==50.0.2
npm install --silent --no-fund --no-audit jose@6.2.18
cat >client.py <<'END'
import sys

import jwt

url, pause = sys.argv[1:]
client = jwt.PyJWKClient(url, **({"cooldown_duration": 0} if pause == "0" else {}))
for token in sys.stdin:
    try:
        jwt.decode(token.strip(), client.get_signing_key_from_jwt(token.strip()), ["ES256"])
        print("taken", flush=True)
    except jwt.PyJWKClientError:
        print("refused", flush=True)
END
cat >client.mjs <<'END'
import readline from "node:readline";
import { createRemoteJWKSet, errors, jwtVerify } from "jose";

const [url, pause] = process.argv.slice(2);
const keys = createRemoteJWKSet(new URL(url), pause === "0" ? { cooldownDuration: 0 } : {});
for await (const token of readline.createInterface({ input: process.stdin })) {
  try {
    await jwtVerify(token, keys);
    console.log("taken");
  } catch (error) {
    if (!(error instanceof errors.JWKSNoMatchingKey)) throw error;
    console.log("refused");
  }
}
END
cat >see.py <<'END'
import json
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

keys = {name: ec.generate_private_key(ec.SECP256R1()) for name in ("old", "new", "newest")}
tokens = {name: jwt.encode({"sub": "app"}, key, "ES256", headers={"kid": name}) for name, key in keys.items()}
public = {name: ECAlgorithm.to_jwk(key.public_key(), as_dict=True) | {"kid": name, "use": "sig", "alg": "ES256"} for name, key in keys.items()}
published, fetches = [], []


class KeySet(BaseHTTPRequestHandler):
    def do_GET(self):
        fetches.append(list(published))
        body = json.dumps({"keys": [public[name] for name in published]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


class Client:
    def __init__(self, *words):
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, name, *now):
        """What becomes of a token while the set has these keys."""
        published[:] = now
        self.process.stdin.write(tokens[name] + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def see(self):
        """What becomes of the old token, the new, the newest and the old one again, and the set that was fetched last."""
        fetches.clear()
        seen = [self.ask("old", "old"), self.ask("new", "old", "new")]
        seen += [self.ask("newest", "new", "newest"), self.ask("old", "new", "newest")]
        return *seen, fetches[-1]


server = ThreadingHTTPServer(("127.0.0.1", 0), KeySet)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}/keys"
clients = {
    "PyJWT 2.15.1": ("new/bin/python", "client.py", url, ""),
    "jose": ("node", "client.mjs", url, ""),
    "PyJWT 2.15.1, pause 0": ("new/bin/python", "client.py", url, "0"),
    "jose, pause 0": ("node", "client.mjs", url, "0"),
    "PyJWT 2.10.1": ("old/bin/python", "client.py", url, ""),
}
clients = {name: Client(*words) for name, words in clients.items()}
seen = {name: client.see() for name, client in clients.items()}
for name, answers in seen.items():
    print(f"{name}: {answers}")
time.sleep(31)
later = [clients[name].ask("newest", "new", "newest") for name in ("PyJWT 2.15.1", "jose")]
print("PyJWT 2.15.1 and jose, of the newest key after 31 seconds:", later)
for client in clients.values():
    client.process.stdin.close()
    assert client.process.wait(timeout=60) == 0
kept = ("taken", "refused", "refused", "taken", ["old"])
follows = ("taken", "taken", "taken", "refused", ["new", "newest"])
assert seen["PyJWT 2.15.1"] == seen["jose"] == kept
assert later == ["taken", "taken"]
assert seen["PyJWT 2.15.1, pause 0"] == seen["jose, pause 0"] == seen["PyJWT 2.10.1"] == follows
END
new/bin/python see.py
