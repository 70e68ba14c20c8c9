#!/usr/bin/env bash
# npm 11.19.1: where the variable of a token in .npmrc is not set, npm sends the variable's name as the token.
# Seen: of `_authToken=${NPM_TOKEN}` without NPM_TOKEN the registry gets `Bearer ${NPM_TOKEN}`, and what npm says is the registry's answer,
# here that the package is not found, and nothing of the variable; `${NPM_TOKEN?}` sends no token. With NPM_TOKEN=abc#def the token is sent
# whole; written into the file as it is, `_authToken=abc#def` is sent as abc, and so is abc;def, without a warning. Quotes keep it whole.
# Guess: a variable that is not set is an error that names it. Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --silent --no-fund --no-audit npm@11.19.1
cat >see.py <<'END'
import http.server
import os
import subprocess
import threading
from pathlib import Path

sent = []


class Registry(http.server.BaseHTTPRequestHandler):
    """Note the token of each request for the package, and know none."""

    def do_GET(self):
        if self.path == "/of-the-company":
            sent.append(self.headers.get("Authorization"))
        self.send_response(404)
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_words):
        pass


registry = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Registry)
threading.Thread(target=registry.serve_forever, daemon=True).start()
place = f"127.0.0.1:{registry.server_port}"
environment = {name: value for name, value in os.environ.items() if not name.lower().startswith("npm_")}
environment |= {"HOME": str(Path.cwd()), "npm_config_update_notifier": "false"}


def token(written, **variables):
    """The token that npm sends of what is written in .npmrc, and what npm says."""
    Path(".npmrc").write_text(f"registry=http:{'//'}{place}/\n//{place}/:_authToken={written}\n")
    sent.clear()
    words = ["node_modules/.bin/npm", "view", "of-the-company", "version"]
    done = subprocess.run(words, env=environment | variables, capture_output=True, text=True)
    print(f"{written} with {variables}: {sent}, exit {done.returncode}")
    assert len(sent) == 1
    return (sent[0] or "").removeprefix("Bearer "), done.stdout + done.stderr


absent, said = token("${NPM_TOKEN}")
assert absent == "${NPM_TOKEN}"
assert "E404" in said and "NPM_TOKEN" not in said
assert token("${NPM_TOKEN?}")[0] == ""
assert token("${NPM_TOKEN}", NPM_TOKEN="abc#def")[0] == "abc#def"
assert token("abc#def")[0] == token("abc;def")[0] == "abc"
assert token('"abc#def"')[0] == "abc#def"
registry.shutdown()
END
python3 see.py
