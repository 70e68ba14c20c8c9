#!/usr/bin/env bash
# kubernetes 37.0.1, lightkube 1.0.1, kr8s 0.20.15 and pykube-ng 23.6.0: a token that a kubeconfig has in a `tokenFile` is sent by some of them alone.
# Seen: kr8s and pykube send no token, and say nothing. kubernetes and lightkube read the file once and send the first token after the file has
# another. With a newline at its end, as an editor or `echo` writes it, lightkube sends the token, and kubernetes
# raises "Invalid header value", with the token in the message. With `token` beside it lightkube takes the file, and the three
# others `token`. Guess: the clients read one file alike, and follow it as it is rotated. Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check kubernetes==37.0.1 lightkube==1.0.1 kr8s==0.20.15 pykube-ng==23.6.0
cat >official.py <<'END'
from kubernetes import client, config

config.load_kube_config("config")
api = client.CoreV1Api()


def get():
    api.read_namespaced_secret("app", "default")
END
cat >light.py <<'END'
from lightkube import Client, KubeConfig
from lightkube.resources.core_v1 import Secret

api = Client(config=KubeConfig.from_file("config"))


def get():
    api.get(Secret, "app", namespace="default")
END
cat >krates.py <<'END'
import kr8s
from kr8s.objects import Secret

api = kr8s.api(kubeconfig="config")


def get():
    Secret.get("app", namespace="default", api=api)
END
cat >pyk.py <<'END'
import pykube

api = pykube.HTTPClient(pykube.KubeConfig.from_file("config"))


def get():
    pykube.Secret.objects(api).get_by_name("app")
END
cat >twice.py <<'END'
import importlib
import sys
from pathlib import Path

get = importlib.import_module(sys.argv[1]).get
try:
    get()
    Path("token").write_text("second")
    get()
except Exception as error:
    print(f"{type(error).__name__}: {error}")
END
cat >see.py <<'END'
import http.server
import json
import subprocess
import threading
from pathlib import Path

sent = []
VERSION = {"major": "1", "minor": "34", "gitVersion": "v1.34.0"}
SECRET = {"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "app", "namespace": "default"}, "data": {}}


class Server(http.server.BaseHTTPRequestHandler):
    """Note the token of each request for the secret, and answer it."""

    def do_GET(self):
        if "secrets" in self.path:
            sent.append((self.headers.get("Authorization") or "none").removeprefix("Bearer "))
        listed = {"kind": "SecretList", "apiVersion": "v1", "metadata": {}, "items": [SECRET]}
        secrets = SECRET if self.path.endswith("/app") else listed
        body = json.dumps(VERSION if self.path.startswith("/version") else secrets).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_words):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()


def see(written, **user):
    """What each client sends twice, the file being changed in between, or its error."""
    config = {"apiVersion": "v1", "kind": "Config", "current-context": "here"}
    config["clusters"] = [{"name": "one", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}]
    config["users"] = [{"name": "app", "user": user}]
    config["contexts"] = [{"name": "here", "context": {"cluster": "one", "user": "app", "namespace": "default"}}]
    Path("config").write_text(json.dumps(config))
    seen = {}
    for name in ("official", "light", "krates", "pyk"):
        Path("token").write_text(written)
        sent.clear()
        words = ["venv/bin/python", "twice.py", name]
        said = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout.strip()
        seen[name] = said or list(sent)
    print(f"{written!r} {user}: {seen}")
    return tuple(seen.values())


none, first, inline = ["none"] * 2, ["first"] * 2, ["inline"] * 2
assert see("first", tokenFile="token") == (first, first, none, none)
assert see("first\n", tokenFile="token") == (r"ValueError: Invalid header value b'Bearer first\n'", first, none, none)
assert see("first", tokenFile="token", token="inline") == (inline, first, inline, inline)
server.shutdown()
END
venv/bin/python see.py
