#!/usr/bin/env bash
# infisicalsdk 1.0.18: with its cache, which is on, the password of one project is given for another.
# Seen: get_secret_by_name keeps answers for 60 seconds under project_id, environment, path and name. project_slug, which may be given instead of
# project_id, is no part of that, and neither are version, view_secret_value and expand_secret_references. So a program that reads
# db-password of the project "shop" and then of "bank" gets the one of "shop" twice; version 1 after the latest is the latest; a read
# that hides the value makes the next one give the text <hidden>.
# list_secrets counts all of these. With cache_ttl=None each is right. A server of the test answers here, as the documented API does.
# Guess: what was asked for makes a difference to a cache. Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check infisicalsdk==1.0.18 requests==2.34.2
cat >see.py <<'END'
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from infisical_sdk import InfisicalSDKClient

PLAIN = ("id", "_id", "workspace", "environment", "type", "secretComment", "createdAt", "updatedAt")


class Server(BaseHTTPRequestHandler):
    """Answers a read with what was asked for, as the value."""

    def do_GET(self):
        asked = {name: one[0] for name, one in parse_qs(urlsplit(self.path).query).items()}
        value = f"{asked['workspaceSlug']}, version {asked.get('version', '2')}"
        if asked["viewSecretValue"] == "false":
            value = "<hidden>"
        secret = dict.fromkeys(PLAIN, "-") | {"version": 2, "secretKey": "db-password", "secretValue": value}
        one = "db-password" in self.path
        body = json.dumps({"secret": secret} if one else {"secrets": [secret], "imports": []}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
host = f"http://127.0.0.1:{server.server_port}"
WHERE = {"environment_slug": "prod", "secret_path": "/"}


def see(first, second, **more):
    """What a second read gives after a first one."""
    with InfisicalSDKClient(host=host, token="ann", **more) as client:
        client.secrets.get_secret_by_name("db-password", **WHERE, **first)
        return client.secrets.get_secret_by_name("db-password", **WHERE, **second).secretValue


shop, bank = {"project_slug": "shop"}, {"project_slug": "bank"}
cases = {
    "another project": (shop, bank),
    "version 1": (shop, {**shop, "version": "1"}),
    "to be seen": ({**shop, "view_secret_value": False}, shop),
}
cached = {name: see(*case) for name, case in cases.items()}
uncached = {name: see(*case, cache_ttl=None) for name, case in cases.items()}
with InfisicalSDKClient(host=host, token="ann") as client:
    lists = [client.secrets.list_secrets(**WHERE, **one).secrets[0].secretValue for one in (shop, bank)]
server.shutdown()
for name in cases:
    print(f"{name}: {cached[name]}; without a cache: {uncached[name]}")
print("lists:", lists)
latest = "shop, version 2"
assert list(cached.values()) == [latest, latest, "<hidden>"]
assert list(uncached.values()) == ["bank, version 2", "shop, version 1", latest]
assert lists == [latest, "bank, version 2"]
END
venv/bin/python see.py
