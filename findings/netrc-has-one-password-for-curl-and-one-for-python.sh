#!/usr/bin/env bash
# libcurl 8.23.0 (pycurl 7.49.0) and requests 2.34.2: one line of a .netrc is two passwords where it holds a backslash.
# Seen: of `password pa\ss` libcurl sends pa\ss and requests sends pass, since Python's netrc takes a backslash for an escape outside of
# quotes too (3.11); of `password "pa\nss"` libcurl sends a line feed in the middle and requests sends panss. Neither warns.
# Written in quotes with the backslash doubled, both send the same. Guess: one file format, one password.
# Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check pycurl==7.49.0 requests==2.34.2
cat >see.py <<'END'
import base64
import http.server
import os
import threading
from pathlib import Path

import pycurl
import requests

sent = []


class Listener(http.server.BaseHTTPRequestHandler):
    """Note the credentials of each request."""

    def do_GET(self):
        sent.append(base64.b64decode(self.headers["Authorization"].split()[1]).decode())
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_words):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Listener)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://localhost:{server.server_port}/"
os.environ["NETRC"] = str(Path("netrc").resolve())


def both(written):
    """What libcurl and requests send for one spelling of the password."""
    Path("netrc").write_text(f"machine localhost login app password {written}\n")
    Path("netrc").chmod(0o600)
    sent.clear()
    curl = pycurl.Curl()
    curl.setopt(pycurl.URL, url)
    curl.setopt(pycurl.NETRC, pycurl.NETRC_REQUIRED)
    curl.setopt(pycurl.NETRC_FILE, "netrc")
    curl.perform()
    requests.get(url, timeout=10)
    print(f"{written}: libcurl sends {sent[0]!r}, requests {sent[1]!r}")
    return tuple(each.removeprefix("app:") for each in sent)


print(pycurl.version.split()[1])
assert both("plain") == ("plain", "plain")
assert both(r"pa\ss") == (r"pa\ss", "pass")
assert both(r"pa\\ss") == (r"pa\\ss", r"pa\ss")
assert both(r'"pa\nss"') == ("pa\nss", "panss")
assert both(r'"pa\\ss"') == (r"pa\ss", r"pa\ss")
server.shutdown()
END
venv/bin/python see.py
