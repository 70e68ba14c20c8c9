#!/usr/bin/env bash
# superagent 10.4.2 of npm: a password in a URL is sent as it is written there, where axios, got, needle, node:http, requests and httpx decode it.
# Seen: of user:p%40ss superagent sends "p%40ss" for Basic authentication; axios 1.21.1, got 14.6.6, needle 3.5.0, node:http,
# requests 2.34.2, httpx 0.28.1 and curl send "p@ss". A password of letters and digits is one for all of them, so that the program with superagent
# is refused only after a rotation to a password that has to be encoded, with a 401 as for a wrong one. fetch of Node refuses each URL with a
# password, and writes the whole URL with the password into its error. auth("user", "p@ss") of superagent sends p@ss. For programs with superagent:
# take the user and the password out of the URL, decode them, and give them to auth(). Guess: one URL, one password.
# Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check requests==2.34.2 httpx==0.28.1
npm install --silent --no-fund --no-audit superagent@10.4.2 axios@1.21.1 got@14.6.6 needle@3.5.0
cat >ask.mjs <<'END'
import http from "node:http";
import axios from "axios";
import got from "got";
import needle from "needle";
import superagent from "superagent";

const [url, password] = process.argv.slice(2);
const bare = url.replace(/user:.*@/, "");
const plain = (resolve) => http.get(url, async (answer) => resolve((await answer.toArray()).join("")));
const clients = {
  superagent: async () => (await superagent.get(url)).text,
  auth: async () => (await superagent.get(bare).auth("user", password)).text,
  axios: async () => (await axios.get(url)).data,
  got: async () => (await got(url)).body,
  needle: async () => String((await needle("get", url)).body),
  http: () => new Promise(plain),
  fetch: () => fetch(url).catch((error) => (error.message.includes(url) ? "refused, with the URL" : error.message)),
};
const seen = {};
for (const [name, ask] of Object.entries(clients)) seen[name] = await ask();
console.log(JSON.stringify(seen));
process.exit();
END
cat >see.py <<'END'
import base64
import http.server
import json
import subprocess
import threading

import httpx
import requests


class Echo(http.server.BaseHTTPRequestHandler):
    """Answer with the password of the request."""

    def do_GET(self):
        user, password = base64.b64decode(self.headers["Authorization"].split()[1]).decode().split(":", 1)
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.end_headers()
        self.wfile.write(password.encode())

    def log_message(self, *_words):
        pass


def said(*words):
    return subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout


def see(written, password):
    url = f"http://user:{written}@127.0.0.1:{server.server_port}/"
    seen = json.loads(said("node", "ask.mjs", url, password))
    seen |= {"requests": requests.get(url).text, "httpx": httpx.get(url).text, "curl": said("curl", "-s", url)}
    print(written, seen)
    assert seen.pop("fetch") == "refused, with the URL"
    return seen.pop("superagent"), set(seen.values())


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo)
threading.Thread(target=server.serve_forever, daemon=True).start()
assert see("pass", "pass") == ("pass", {"pass"})
assert see("p%40ss", "p@ss") == ("p%40ss", {"p@ss"})
assert see("p%25ss", "p%ss") == ("p%25ss", {"p%ss"})
server.shutdown()
END
venv/bin/python see.py
