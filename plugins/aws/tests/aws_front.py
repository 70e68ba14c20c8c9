"""A server that gives the answers it is told to, for what no emulator does: throttling, failures, refusals."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def refusal(status, code, message="in words", headers=None):
    """Return the answer of a service that refuses."""
    return status, {"__type": code, "message": message}, headers or {}


def success(**body):
    """Return a good answer."""
    return 200, body, {}


def value(text, name="k"):
    """Return the answer that holds a current value; with the name None it is good for every secret."""
    labels = ["AWSCURRENT"]
    named = {} if name is None else {"Name": name}
    return success(**named, VersionId="v" * 36, SecretString=text, VersionStages=labels)


class Front:
    """Gives `answers` one after the other, the last one again and again; notes what it was asked."""

    def __init__(self, *answers, context=None):
        self.answers = list(answers)
        self.asked = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.front = self
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.scheme = "http" if context is None else "https"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self):
        return f"{self.scheme}://127.0.0.1:{self._server.server_port}"

    @property
    def operations(self):
        return [operation for operation, _ in self.asked]

    def close(self):
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        front = self.server.front
        body = self.rfile.read(int(self.headers["Content-Length"]))
        front.asked.append((self.headers.get("X-Amz-Target", "").rpartition(".")[2], body))
        status, told, headers = front.answers.pop(0) if len(front.answers) > 1 else front.answers[0]
        data = told if isinstance(told, bytes) else json.dumps(told).encode()
        self.send_response(status)
        for name, text in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass
