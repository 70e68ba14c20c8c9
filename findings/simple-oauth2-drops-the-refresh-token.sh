#!/usr/bin/env bash
# simple-oauth2 5.1.0 of npm, google-auth-library 10.9.1, requests-oauthlib 2.0.0, Authlib 1.9.10: who still has a refresh token after a refresh.
# Seen: a server answers a refresh with a new access token alone, which RFC 6749 (section 6) allows: the refresh token stays good. The three
# others refresh again and again. simple-oauth2 has a line that keeps the token, but it reads this.refresh_token where the token is in
# this.token: the first refresh succeeds and its result has refresh_token undefined, and the second sends an empty one
# and is refused. A program that stores each new token, as the README does, has lost the credential that was meant to last, after a first
# refresh without an error; {...old, ...fresh} loses it too. Guess: what is not in the answer stays as it was.
# Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check authlib==1.9.10 requests==2.34.2 requests-oauthlib==2.0.0 oauthlib==4.0.1
npm install --silent --no-fund --no-audit simple-oauth2@5.1.0 google-auth-library@10.9.1
cat >see.mjs <<'END'
import { OAuth2Client } from "google-auth-library";
import { AuthorizationCode } from "simple-oauth2";

const host = process.argv[2];
const google = new OAuth2Client({ clientId: "app", clientSecret: "s", endpoints: { oauth2TokenUrl: `${host}/google` } });
google.setCredentials({ refresh_token: "long-lived" });
for (let number = 0; number < 2; number += 1) await google.refreshAccessToken();
const simple = new AuthorizationCode({ client: { id: "app", secret: "s" }, auth: { tokenHost: host, tokenPath: "/simple" } });
const first = simple.createToken({ access_token: "a0", refresh_token: "long-lived", expires_in: 3600 });
const second = await first.refresh();
const merged = { ...first.token, ...second.token };
const refused = await second.refresh().catch((error) => error.data.payload.error);
console.log(JSON.stringify([Object.keys(second.token).includes("refresh_token"), merged.refresh_token ?? null, refused]));
END
cat >see.py <<'END'
import json
import os
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

from authlib.integrations.requests_client import OAuth2Session as Authlib
from requests_oauthlib import OAuth2Session

os.environ |= {"OAUTHLIB_INSECURE_TRANSPORT": "1", "AUTHLIB_INSECURE_TRANSPORT": "1"}
asked = {}


class Server(BaseHTTPRequestHandler):
    def do_POST(self):
        form = parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
        token = form.get("refresh_token", [""])[0]
        asked.setdefault(self.path, []).append(token)
        good = token == "long-lived"
        answer = {"access_token": "a", "token_type": "Bearer", "expires_in": 3600} if good else {"error": "invalid_grant"}
        body = json.dumps(answer).encode()
        self.send_response(200 if good else 400)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
host = f"http://127.0.0.1:{server.server_port}"
token = {"access_token": "a0", "refresh_token": "long-lived", "token_type": "Bearer", "expires_in": 3600}
for session, path in ((Authlib("app", "s", token=token), "/authlib"), (OAuth2Session("app", token=token), "/requests-oauthlib")):
    for _ in range(2):
        session.refresh_token(host + path)
    assert session.token["refresh_token"] == "long-lived"
done = subprocess.run(["node", "see.mjs", host], capture_output=True, text=True, check=True, timeout=120)
server.shutdown()
for path, tokens in sorted(asked.items()):
    print(f"{path[1:]} sent {tokens}")
print("simple-oauth2: has the field, its value in a merge, the second refresh:", done.stdout.strip())
kept = ["long-lived", "long-lived"]
assert asked == {"/authlib": kept, "/requests-oauthlib": kept, "/google": kept, "/simple": ["long-lived", ""]}
assert json.loads(done.stdout) == [True, None, "invalid_grant"]
END
venv/bin/python see.py
