"""An HTTPS server on 127.0.0.1 that speaks Key Vault's protocol, with its 401 challenge, in front of a store."""

from __future__ import annotations

import http.server
import json
import re
import ssl
import threading
from urllib.parse import parse_qsl, unquote, urlsplit

from azure_store import Refusal, Store

_NAME = r"(?P<name>[^/]+)"
ROUTES = [
    ("PUT", rf"/secrets/{_NAME}", "set"),
    ("GET", rf"/secrets/{_NAME}/versions", "versions"),
    ("GET", rf"/secrets/{_NAME}/?", "get"),
    ("GET", rf"/secrets/{_NAME}/(?P<version>[^/]+)", "get"),
    ("PATCH", rf"/secrets/{_NAME}/?", "update"),
    ("PATCH", rf"/secrets/{_NAME}/(?P<version>[^/]+)", "update"),
    ("DELETE", rf"/secrets/{_NAME}", "delete"),
    ("GET", r"/secrets", "list"),
    ("GET", rf"/deletedsecrets/{_NAME}", "get_deleted"),
    ("POST", rf"/deletedsecrets/{_NAME}/recover", "recover"),
    ("DELETE", rf"/deletedsecrets/{_NAME}", "purge"),
]


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        server = self.server
        server.requests += 1
        if server.canned is not None:
            self._send(*server.canned)
            return
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if not token or token in server.refused:
            words = "AKV10000: Request is missing a Bearer or PoP token."
            challenge = f'Bearer authorization="{server.authority}", resource="https://vault.azure.net"'
            self._send(401, Refusal(401, "Unauthorized", words).body, {"WWW-Authenticate": challenge})
            return
        server.store.tokens.append(token)
        url = urlsplit(self.path)
        for method, pattern, operation in ROUTES:
            found = re.fullmatch(pattern, url.path)
            if method == self.command and found:
                arguments = {name: unquote(text) for name, text in found.groupdict().items()}
                self._send(*server.spoil(*self._call(operation, arguments, dict(parse_qsl(url.query)), body)))
                return
        self._send(404, b"<html>no such page</html>", {"Content-Type": "text/html"})

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

    def _call(self, operation, arguments, query, body):
        try:
            answer = self.server.store.answer(operation, arguments, query, json.loads(body or b"{}"))
        except Refusal as refusal:
            return refusal.status, refusal.body, refusal.headers
        return (204, b"", {}) if answer is None else (200, answer, {})

    def _send(self, status, body, headers):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json; charset=utf-8", **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()

    def log_message(self, *args):
        pass


class _HttpsServer(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def finish_request(self, request, client_address):
        """Run on the connection's own thread, so that a slow handshake holds up nobody else."""
        request.getpeername()  # wrapping one whose other end is gone already would leave it open
        with self.tls.wrap_socket(request, server_side=True) as wrapped:
            super().finish_request(wrapped, client_address)

    def handle_error(self, request, client_address):
        pass  # a client that goes away, as fault tests have it


class Server:
    """The store over HTTPS. `can` lets it answer everything with one status, body and headers."""

    def __init__(self, store: Store, certificate):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)
        self._server = _HttpsServer(("127.0.0.1", 0), _Handler)
        self._server.tls = context
        self._server.store = store
        self._server.canned = None
        self.spoil_with(lambda *answer: answer)
        self._server.refused = set()
        self._server.requests = 0
        self.port = self._server.server_address[1]
        self.url = store.base = f"https://127.0.0.1:{self.port}"
        self._server.authority = "https://login.microsoftonline.com/tenant"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    @property
    def requests(self):
        """How many requests it has had, challenges included."""
        return self._server.requests

    @property
    def refused(self):
        """Tokens that are no longer good."""
        return self._server.refused

    def spoil_with(self, change):
        """Send what `change` makes of status, body and headers in place of each answer."""
        self._server.spoil = change

    def can(self, status, body, **headers):
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        self._server.canned = (status, body, names)

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
