"""A session of requests whose calls end at their deadline, whatever the server does.

requests' own timeout counts from the last byte, so a server that drips bytes holds a call for ever.
One watchdog thread therefore shuts the sockets of calls whose deadline has passed.
"""

from __future__ import annotations

import heapq
import itertools
import socket
import threading
import time
from contextlib import suppress
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

_local = threading.local()


class Call:
    """One call under way: its deadline, the connection it uses now, and what the last reply's head said."""

    __slots__ = ("connection", "date", "deadline", "done", "expired", "retry_after", "status")

    def __init__(self, timeout: float) -> None:
        self.deadline = time.monotonic() + timeout
        self.connection: Any = None
        self.done = self.expired = False
        self.retry_after: float | None = None
        self.status: int | None = None
        self.date: str | None = None

    def left(self) -> float:
        return self.deadline - time.monotonic()

    def expire(self) -> None:
        self.expired = True
        sock = getattr(self.connection, "sock", None)
        if sock is not None:
            # Not SSLSocket.shutdown: that takes the TLS state away under the reading thread.
            with suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)


class Watchdog:
    """Ends calls at their deadlines, from one daemon thread that starts with the first call."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._calls: list[tuple[float, int, Call]] = []
        self._count = itertools.count()
        self._thread: threading.Thread | None = None

    def watch(self, call: Call) -> None:
        with self._changed:
            first = not self._calls or call.deadline < self._calls[0][0]
            heapq.heappush(self._calls, (call.deadline, next(self._count), call))
            if self._thread is None or not self._thread.is_alive():  # also the child of a fork
                self._thread = threading.Thread(target=self._run, name="strongroom-vault", daemon=True)
                self._thread.start()
            elif first:
                self._changed.notify()

    def _run(self) -> None:
        with self._changed:
            while True:
                while self._calls and self._calls[0][2].done:
                    heapq.heappop(self._calls)
                if not self._calls:
                    self._changed.wait()
                    continue
                left = self._calls[0][0] - time.monotonic()
                if left > 0:
                    self._changed.wait(left)
                else:
                    heapq.heappop(self._calls)[2].expire()


class _Noted:
    def connect(self) -> None:
        _note(self)
        super().connect()  # type: ignore[misc]  # mixed into urllib3's connections

    def request(self, *args: Any, **kwargs: Any) -> Any:
        _note(self)
        return super().request(*args, **kwargs)  # type: ignore[misc]  # as above


def _note(connection: Any) -> None:
    call = getattr(_local, "call", None)
    if call is not None:
        call.connection = connection


class _HTTP(_Noted, HTTPConnection):
    pass


class _HTTPS(_Noted, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _HTTP


class _TLSPool(HTTPSConnectionPool):
    ConnectionCls = _HTTPS


class RedirectedError(Exception):
    """A request other than a read was answered with a redirect; it was not done."""

    def __init__(self, method: str, status: int) -> None:
        super().__init__(f"a {method} was redirected with {status}")


class DeadlineAdapter(HTTPAdapter):
    """Sends within the time that the current call has left, body included."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TLSPool}

    def send(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        call: Call = _local.call
        left = call.left()
        if left <= 0:
            raise requests.exceptions.Timeout
        kwargs["timeout"] = left
        response = super().send(request, *args, **kwargs)
        # Noted here: hvac's errors have no headers.
        told = response.headers.get("Retry-After", "")
        call.status, call.date = response.status_code, response.headers.get("Date")
        call.retry_after = float(told) if told.isascii() and told.isdigit() else None
        _ = response.content  # here, while the watchdog still looks
        if call.expired:
            raise requests.exceptions.Timeout
        return response


class DeadlineSession(requests.Session):
    """A session that reads no environment and gives the token to no weaker address."""

    def __init__(self, *, connections: int, verify: bool | str, cert: Any, proxies: Any) -> None:
        super().__init__()
        self.trust_env = False  # no netrc, no proxy and no CA that was not given
        self.verify, self.cert, self.proxies = verify, cert, dict(proxies or {})
        adapter = DeadlineAdapter(pool_connections=4, pool_maxsize=connections, max_retries=0)
        self.mount("http://", adapter)
        self.mount("https://", adapter)
        self.watchdog = Watchdog()

    def rebuild_auth(self, prepared_request: Any, response: Any) -> None:
        super().rebuild_auth(prepared_request, response)
        if response.request.url.startswith("https:") and not prepared_request.url.startswith("https:"):
            raise requests.exceptions.InvalidURL("redirected from https to http")

    def rebuild_method(self, prepared_request: Any, response: Any) -> None:
        """Follow no redirect that would turn a write into a read, whose answer would pass for success."""
        before = prepared_request.method
        super().rebuild_method(prepared_request, response)
        if prepared_request.method != before:
            raise RedirectedError(str(before), response.status_code)

    def run(self, call: Call, function: Any, *args: Any, **kwargs: Any) -> Any:
        """Run `function`, whose requests all belong to `call`."""
        before = getattr(_local, "call", None)
        _local.call = call
        call.done = False
        self.watchdog.watch(call)
        try:
            return function(*args, **kwargs)
        finally:
            call.done = True
            call.connection = None
            _local.call = before
