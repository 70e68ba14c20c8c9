#!/usr/bin/env bash
# python-tss-sdk 2.0.1 (Delinea Secret Server): of a secret with a file, such as an SSH key, get_secret gives an object of requests.
# Seen: the docstring of get_secret says that the itemValue of a field with a file is replaced with the contents. It is replaced with the server's
# whole answer, a requests.Response, also in the fields of ServerSecret, whose value is declared as str. An f-string or a template writes
# "<Response [200]>" into the key's file without an error, and the next program finds no key there. json.dumps of
# the secret, as for a cache, is a TypeError, and that for secrets with a file alone. For users: value.text or value.content
# where a field has a file_attachment_id. Guess: the value of each field is a text. Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check python-tss-sdk==2.0.1 requests==2.34.2
cat >see.py <<'END'
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from delinea.secrets.server import AccessTokenAuthorizer, SecretServer, ServerSecret

KEY = "the private key\n"
ITEMS = [
    {"itemId": 1, "slug": "password", "itemValue": "secret", "fileAttachmentId": None},
    {"itemId": 2, "slug": "private-key", "itemValue": "*** Not Valid For Display ***", "fileAttachmentId": 7},
]
TIMES = {"lastHeartBeatCheck": "2030-01-01T00:00:00", "lastPasswordChangeAttempt": "2030-01-01T00:00:00"}
ANSWERS = {
    "/api/v1/healthcheck": json.dumps({"Healthy": True}),
    "/api/v1/secrets/1": json.dumps({"id": 1, "items": ITEMS, **TIMES}),
    "/api/v1/secrets/1/fields/private-key": KEY,
}


class Server(BaseHTTPRequestHandler):
    def do_GET(self):
        body = ANSWERS[self.path].encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    secret = SecretServer(url, AccessTokenAuthorizer("token", url)).get_secret(1)
    fields = {name: field.value for name, field in ServerSecret(**secret).fields.items()}
    server.shutdown()
written = f"{fields['private-key']}"
try:
    stored = json.dumps(secret)
except TypeError as error:
    stored = str(error)
print(f"password {fields['password']!r}, key as text {written!r}, its .text {fields['private-key'].text!r}")
print(f"as JSON: {stored}")
assert (fields["password"], written) == ("secret", "<Response [200]>")
assert fields["private-key"].text == KEY
assert stored == "Object of type Response is not JSON serializable"
END
venv/bin/python see.py
