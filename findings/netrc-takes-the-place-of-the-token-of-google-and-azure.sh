#!/usr/bin/env bash
# google-auth 2.63.0, azure-core 1.41.0 and hvac 2.4.0 with requests 2.34.2 and aiohttp 3.14.5: a line of ~/.netrc is sent in the place of a cloud's token.
# Seen: with `default login app password hush` in ~/.netrc, as a file for ftp or a package index may end, a session of google-auth (AuthorizedSession), with
# which the REST clients of Google Cloud work, sends `Basic` with that login instead of `Bearer` with its token. Where it gets the token it sends
# the login too. azure-core sends Basic instead of the Bearer that its policy has set; its asynchronous client, over aiohttp, sends nothing and
# ends with ValueError: "Cannot combine AUTHORIZATION header with AUTH argument". hvac sends Basic beside its own header. A server answers
# 401 then, which reads as a bad token, and gets a password that is for somebody else. httpx 0.28.1 sends the token.
# Guess: who is given a token sends it. To do: no `default` line; for google-auth `session.auth = lambda request: request`, for azure-core
# a RequestsTransport with such a session, for all of them NETRC=/dev/null in the environment. Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export HOME=$work
unset NETRC
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check google-auth==2.63.0 requests==2.34.2 azure-core==1.41.0 aiohttp==3.14.5 hvac==2.4.0 httpx==0.28.1
printf 'machine ftp.test login app password other\ndefault login app password hush\n' >.netrc
chmod 600 .netrc
cat >see.py <<'END'
import asyncio
import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import hvac
import requests
from azure.core import AsyncPipelineClient, PipelineClient
from azure.core.pipeline.policies import AzureKeyCredentialPolicy
from azure.core.credentials import AzureKeyCredential
from azure.core.pipeline.transport import RequestsTransport
from azure.core.rest import HttpRequest
from google.auth.transport.requests import AuthorizedSession
from google.oauth2.credentials import Credentials

seen = []


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        seen.append((self.headers.get("Authorization") or "nothing").split()[0])
        body = json.dumps({"access_token": "TOKEN", "expires_in": 3600}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *_):
        pass


def sent(call):
    seen.clear()
    try:
        call()
    except ValueError as error:
        seen.append(str(error)[:35])
    return list(seen)


def google(change=lambda session: None):
    login = Credentials(None, refresh_token="r", token_uri=f"{url}/token", client_id="c", client_secret="s")
    session = AuthorizedSession(login)
    change(session)
    session.get(url)


def azure(transport=None):
    policy = AzureKeyCredentialPolicy(AzureKeyCredential("TOKEN"), "Authorization", prefix="Bearer")
    PipelineClient(url, policies=[policy], transport=transport).send_request(HttpRequest("GET", url))


async def azure_async():
    policy = AzureKeyCredentialPolicy(AzureKeyCredential("TOKEN"), "Authorization", prefix="Bearer")
    async with AsyncPipelineClient(url, policies=[policy]) as client:
        await client.send_request(HttpRequest("GET", url))


def keep(session):
    session.auth = lambda request: request
    return session


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
url = f"http://127.0.0.1:{server.server_port}"
threading.Thread(target=server.serve_forever, daemon=True).start()
found = {
    "google-auth (token, request)": sent(google),
    "azure-core": sent(azure),
    "hvac": sent(lambda: hvac.Client(url, token="TOKEN").read("x")),
    "httpx": sent(lambda: httpx.get(url, headers={"Authorization": "Bearer TOKEN"})),
    "azure-core over aiohttp": sent(lambda: asyncio.run(azure_async())),
    "google-auth, mended": sent(lambda: google(keep)),
    "azure-core, mended": sent(lambda: azure(RequestsTransport(session=keep(requests.Session())))),
}
os.environ["NETRC"] = "/dev/null"
found["with NETRC=/dev/null"] = sent(google) + sent(azure) + sent(lambda: asyncio.run(azure_async()))
print(found)
server.shutdown()
assert list(found.values()) == [
    ["Basic", "Basic"], ["Basic"], ["Basic"], ["Bearer"], ["Cannot combine AUTHORIZATION header"], ["Basic", "Bearer"], ["Bearer"],
    ["nothing", "Bearer", "Bearer", "Bearer"],
]
END
venv/bin/python see.py
