"""A server of the application in a thread, on free ports, with real clients."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading

import uvloop
from strongroom import SecretHook, SecretProviderRegistry
from strongroom.hooks import SecretEvent
from strongroom_serve.app import App
from strongroom_serve.asking import Backend
from strongroom_serve.config import config_of
from strongroom_serve.http import Connections
from strongroom_serve.sockets import bound_tcp, bound_unix

EVERYTHING = ["get", "list", "describe", "history", "set", "delete"]
ADMIN = "admin-token-0123456789"
WEB = "web-token-0123456789"


def spec_of(*clients, middleware=(), provider=None, **serve):
    """Return a spec with one pipeline; without clients, with one that may do everything."""
    whole = {"name": "all", "token": ADMIN, "allow": ["**"], "operations": EVERYTHING, "tenants": ["*"]}
    pipeline = {"provider": provider or {"type": "memory"}, "middleware": list(middleware)}
    return {
        "version": 1,
        "pipelines": {"app": pipeline},
        "serve": {"clients": [whole, *clients], **serve},
    }


class Recorder(SecretHook):
    """Keeps every event as it ended."""

    def __init__(self):
        self.events: list[SecretEvent] = []

    def after(self, event):
        self.events.append(event)


class Reply:
    """Status, headers and body of an answer."""

    def __init__(self, raw):
        self.status, self.headers, self.body = raw.status, raw.headers, raw.read()

    def json(self):
        return json.loads(self.body)

    @property
    def data(self):
        return self.json()["data"]

    def __repr__(self):
        return f"<{self.status} {self.body[:200]!r}>"


class Served:
    """A running server. `ask` sends one request over a kept connection.

    Without `recorded` no hook watches, so that what a cache has is answered at once.
    """

    def __init__(self, spec, *, unix=None, app=App, recorded=True, tls=None, **options):
        self.tls = tls
        self.registry = spec if isinstance(spec, SecretProviderRegistry) else SecretProviderRegistry(spec)
        self.recorder = Recorder()
        if recorded:
            self.registry.add_hook(self.recorder)
        config = config_of(self.registry.serve_options(), "spec")
        self.backend = Backend(self.registry, config)
        self.app = app(self.backend, **options)
        self.listener = bound_tcp("127.0.0.1", 0)
        self.port = self.listener.socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.unix = bound_unix(unix, 0o600, None) if unix is not None else None
        self._ready, self._connection = threading.Event(), None
        self._thread = threading.Thread(target=self._runs)
        self._thread.start()
        self._ready.wait()

    def _runs(self):
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._run())

    async def _run(self):
        self.loop, self._ending = asyncio.get_running_loop(), asyncio.Event()
        self.connections = Connections(self.app, self.loop)
        servers = [
            await self.connections.listen(one, self.tls if one.is_tcp else None)
            for one in filter(None, (self.listener, self.unix))
        ]
        self._ready.set()
        await self._ending.wait()
        for one in servers:
            one.close()
        await self.connections.drain(5)
        await self.app.close()

    def do(self, coroutine):
        """Run a coroutine in the server's loop, and return what it returns."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(300)

    def ask(self, method, path, *, token=ADMIN, body=None, headers=None):
        """Send a request; `body` that is no bytes is sent as JSON."""
        given = {**({"X-Vault-Token": token} if token is not None else {}), **(headers or {})}
        data = body if isinstance(body, bytes | None) else json.dumps(body)
        if self._connection is None:
            self._connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
        self._connection.request(method, path, body=data, headers=given)
        reply = Reply(self._connection.getresponse())
        if reply.headers.get("connection") == "close":
            self._connection.close()
        return reply

    def put(self, key, value, *, token=ADMIN, cas=None, headers=None):
        """Write a text, or members."""
        data = value if isinstance(value, dict) else {"value": value}
        body = {"data": data, **({"options": {"cas": cas}} if cas is not None else {})}
        return self.ask("POST", f"/v1/secret/data/{key}", token=token, body=body, headers=headers)

    def get(self, key, *, token=ADMIN, headers=None):
        return self.ask("GET", f"/v1/secret/data/{key}", token=token, headers=headers)

    def raw(self, data, *, unix=None):
        """Send bytes, and return all that comes until the server closes."""
        address = socket.AF_INET if unix is None else socket.AF_UNIX
        with socket.socket(address, socket.SOCK_STREAM) as sock:
            sock.settimeout(30)
            sock.connect(("127.0.0.1", self.port) if unix is None else str(unix))
            sock.sendall(data)
            got = b""
            while piece := sock.recv(65536):
                got += piece
        return got

    def stop(self):
        if self._connection is not None:
            self._connection.close()
        self.loop.call_soon_threadsafe(self._ending.set)
        self._thread.join()
        for one in filter(None, (self.listener, self.unix)):
            one.close()
