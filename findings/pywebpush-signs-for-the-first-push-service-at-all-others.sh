#!/usr/bin/env bash
# pywebpush 2.5.0 (py-vapid 1.9.6) with web-push 3.6.7 of npm: of two push services the second gets a token that is meant for the first.
# Seen: webpush() writes "aud" and "exp" into the dictionary of claims that it is given, and takes an "aud" that is there. A program that keeps its claims
# in a constant so sends to every push service a signed token for the one that it reached first, where RFC 8292 binds a token to one of them.
# Which service that is depends on who was first after the start. With a copy of the claims for each call, as with web-push, each service gets its own.
# Guess: the claims that a caller passes stay as they are. Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check pywebpush==2.5.0 py-vapid==1.9.6 cryptography==50.0.2
npm install --silent --no-fund --no-audit web-push@3.6.7
cat >see.js <<'END'
const { getVapidHeaders } = require("web-push");
const { services, publicKey, privateKey } = JSON.parse(require("fs").readFileSync(0, "utf8"));
const headers = services.map((one) => getVapidHeaders(one, "mailto:app@example.org", publicKey, privateKey, "aes128gcm"));
console.log(JSON.stringify(headers.map((one) => one.Authorization)));
END
cat >see.py <<'END'
import base64
import http.server
import json
import os
import subprocess
import threading

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pywebpush import webpush

CLAIMS = {"sub": "mailto:app@example.org"}


def text(raw):
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def point(key):
    return text(key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint))


def audience(header):
    token = header.split("t=")[1].split(",")[0]
    body = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))["aud"]


class Service(http.server.BaseHTTPRequestHandler):
    """A push service that keeps the header of each message."""

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.append(self.headers["Authorization"])
        self.send_response(201)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass


def push(server, claims):
    """Send a message, and return the service that the token is meant for."""
    keys = {"p256dh": point(ec.generate_private_key(ec.SECP256R1())), "auth": text(os.urandom(16))}
    where = {"endpoint": origin(server) + "/message", "keys": keys}
    webpush(where, "hello", vapid_private_key=private, vapid_claims=claims, timeout=30)
    return audience(server.seen[-1])


def origin(server):
    return f"http://127.0.0.1:{server.server_address[1]}"


key = ec.generate_private_key(ec.SECP256R1())
private = text(key.private_numbers().private_value.to_bytes(32, "big"))
services = []
for _ in range(2):
    server = http.server.HTTPServer(("127.0.0.1", 0), Service)
    server.seen = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    services.append(server)
first, second = services
names = {origin(first): "first", origin(second): "second"}
copied = [names[push(server, dict(CLAIMS))] for server in services]
kept = [names[push(server, CLAIMS)] for server in services]
given = json.dumps({"services": list(names), "publicKey": point(key), "privateKey": private})
done = subprocess.run(["node", "see.js"], input=given, capture_output=True, text=True, check=True, timeout=60)
node = [names[audience(header)] for header in json.loads(done.stdout)]
print("pywebpush, one dictionary, tokens at the first and the second service are for:", kept)
print("pywebpush, a copy for each call:", copied)
print("web-push of npm:", node)
print("claims afterwards:", sorted(CLAIMS))
assert kept == ["first", "first"]
assert copied == node == ["first", "second"]
assert sorted(CLAIMS) == ["aud", "exp", "sub"]
END
venv/bin/python see.py
