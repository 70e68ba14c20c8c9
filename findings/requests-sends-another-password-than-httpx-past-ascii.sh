#!/usr/bin/env bash
# requests 2.34.2 and httpx 0.28.1: for Basic authentication one password with an umlaut is two in the header.
# Seen: of "mü" requests and aiohttp 3.14.5 (BasicAuth) send the byte fc, latin-1; httpx, urllib and curl send c3 bc, UTF-8. A server that
# knows the password by one of them refuses the others, with a 401 like that for a wrong password. "€" makes requests and
# aiohttp raise UnicodeEncodeError; the others send e2 82 ac. Bytes that are given to requests go out as they are.
# Guess: UTF-8 in all, as RFC 7617 has servers ask for.
# Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check requests==2.34.2 httpx==0.28.1 aiohttp==3.14.5
cat >see.py <<'END'
import asyncio
import base64
import subprocess
import threading
import urllib.request
import warnings
from http.server import BaseHTTPRequestHandler, HTTPServer

import aiohttp
import httpx
import requests

warnings.simplefilter("ignore")  # aiohttp will take a header instead
sent = []


class Listener(BaseHTTPRequestHandler):
    def do_GET(self):
        sent.append(base64.b64decode(self.headers["Authorization"].split(" ")[1]).removeprefix(b"u:"))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *args):
        pass


server = HTTPServer(("127.0.0.1", 0), Listener)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}/"


async def by_aiohttp(password):
    async with aiohttp.ClientSession(auth=aiohttp.BasicAuth("u", password)) as session, session.get(url):
        pass


def by_urllib(password):
    known = urllib.request.HTTPPasswordMgrWithPriorAuth()
    known.add_password(None, url, "u", password, is_authenticated=True)
    urllib.request.build_opener(urllib.request.HTTPBasicAuthHandler(known)).open(url)


def by_curl(password):
    subprocess.run(["curl", "-s", "-u", f"u:{password}", url], check=True)


CLIENTS = {
    "requests": lambda password: requests.get(url, auth=("u", password)),
    "aiohttp": lambda password: asyncio.run(by_aiohttp(password)),
    "httpx": lambda password: httpx.get(url, auth=("u", password)),
    "urllib": by_urllib,
    "curl": by_curl,
}


def header_of(password):
    seen = {}
    for name, client in CLIENTS.items():
        try:
            client(password)
            seen[name] = sent.pop()
        except UnicodeEncodeError:
            seen[name] = "UnicodeEncodeError"
    print(password, seen)
    return seen


latin, utf8 = b"m\xfc", b"m\xc3\xbc"
assert header_of("mu") == dict.fromkeys(CLIENTS, b"mu")
assert header_of("mü") == {"requests": latin, "aiohttp": latin, "httpx": utf8, "urllib": utf8, "curl": utf8}
past = header_of("€")
assert past.pop("requests") == past.pop("aiohttp") == "UnicodeEncodeError"
assert set(past.values()) == {b"\xe2\x82\xac"}
requests.get(url, auth=(b"u", utf8))
assert sent.pop() == utf8
END
LC_ALL=C.UTF-8 venv/bin/python see.py
