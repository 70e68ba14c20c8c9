#!/usr/bin/env bash
# requests-auth 8.0.0 with httpx-auth 0.23.1 of the same author: a new client secret is used before the server has seen it.
# Seen: OAuth2ClientCredentials keeps tokens for the whole process under the token URL and the scope. The id and the secret of the client are no
# part of that. A program that calls one service for two accounts sends the second account's requests with the token of the first, as long
# as that lives, and the server never hears of the second. After a rotation a request with the new secret succeeds without a login: a check
# of the new secret in the same process checks nothing. httpx-auth, which has a class of the same name, asks the server for each.
# Guess: another secret in the constructor is another login.
# Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check requests-auth==8.0.0 requests==2.34.2 httpx-auth==0.23.1 httpx==0.28.1
cat >see.py <<'END'
import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import httpx_auth
import requests
import requests_auth

SECRETS = {"billing": "s1", "reports": "s2"}
asked = []


class Server(BaseHTTPRequestHandler):
    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        client, secret = base64.b64decode(self.headers["authorization"].split()[1]).decode().split(":")
        asked.append((client, secret))
        assert SECRETS[client] == secret
        self.answer(200, {"access_token": f"for-{client}", "token_type": "Bearer", "expires_in": 3600})

    def do_GET(self):
        self.answer(200, self.headers["authorization"])

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}"


def see(library, auth, client, secret):
    """The token that a request carries."""
    return library.get(url, auth=auth.OAuth2ClientCredentials(f"{url}/token", client, secret)).json()


seen = {}
for library, auth in ((requests, requests_auth), (httpx, httpx_auth)):
    SECRETS["billing"] = "s1"
    answers = [see(library, auth, "billing", "s1"), see(library, auth, "reports", "s2")]
    SECRETS["billing"] = "s3"  # rotated
    answers.append(see(library, auth, "billing", "s3"))
    seen[auth.__name__] = answers, asked[:]
    print(f"{auth.__name__}: {answers}, the server was asked {asked}")
    asked.clear()
server.shutdown()
assert seen["requests_auth"] == (["Bearer for-billing"] * 3, [("billing", "s1")])
assert seen["httpx_auth"] == (
    ["Bearer for-billing", "Bearer for-reports", "Bearer for-billing"],
    [("billing", "s1"), ("reports", "s2"), ("billing", "s3")],
)
END
venv/bin/python see.py
