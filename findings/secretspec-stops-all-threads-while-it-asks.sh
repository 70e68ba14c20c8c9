#!/usr/bin/env bash
# secretspec 0.21.1 (Python SDK): no other thread of the process runs while it waits for a backend.
# Seen: against a server on loopback that answers after a second, load() takes that second, and a thread that counts every 10 ms counts at
# most 3 times in it (some 90 times in the second before). The native resolver keeps the interpreter's lock while it waits for the network:
# a server that resolves its secrets again while it runs answers nobody meanwhile, and one thread cannot be the backend of another.
# Guess: the lock is released, as the SDKs in Python do by themselves.
# Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export HOME=$work
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check secretspec==0.21.1
cat >secretspec.toml <<'END'
[project]
name = "app"
revision = "1.0"

[profiles.default]
PASSWORD = { description = "of the database" }
END
cat >slow.py <<'END'
import http.server
import json
import time

ANSWER = json.dumps({"data": {"data": {"value": "secret"}, "metadata": {"version": 1}}}).encode()


class Slow(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        time.sleep(1)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(ANSWER)))
        self.end_headers()
        self.wfile.write(ANSWER)

    def log_message(self, *_words):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Slow)
print(server.server_port, flush=True)
server.serve_forever()
END
cat >see.py <<'END'
import os
import subprocess
import sys
import threading
import time

import secretspec

server = subprocess.Popen([sys.executable, "slow.py"], stdout=subprocess.PIPE, text=True)
port = int(server.stdout.readline())
os.environ["VAULT_TOKEN"] = "any"
ticks = []


def count():
    while True:
        ticks.append(time.monotonic())
        time.sleep(0.01)


threading.Thread(target=count, daemon=True).start()
time.sleep(1)
began = time.monotonic()
provider = f"vault://127.0.0.1:{port}/secret?tls=false"
value = secretspec.SecretSpec.builder().with_provider(provider).with_reason("trial").load().secrets["PASSWORD"].value
ended = time.monotonic()
server.terminate()
server.wait()
before = sum(tick < began for tick in ticks)
during = sum(began < tick < ended for tick in ticks)
print(f"load took {ended - began:.2f} s; counted {before} times in the second before, {during} times in it")
assert value == "secret"
assert ended - began >= 1
assert before > 20
assert during <= 3
END
venv/bin/python see.py
