"""HTTP by gunicorn's protocol for asyncio, on own sockets. No other module uses gunicorn."""

from __future__ import annotations

import asyncio
import logging
import math
import ssl
import sys
import time
from collections.abc import Callable
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final

from gunicorn.asgi.protocol import ASGIProtocol

from strongroom_serve.answers import as_json
from strongroom_serve.handshakes import Handshakes
from strongroom_serve.sockets import Listener, peer_uid

__all__ = ["MOST_CONNECTIONS", "Connections", "http_date"]

_HEAD_SECONDS: Final = 15.0
"""How long the headers of a request may take."""
_BODY_SECONDS: Final = 60
_IDLE_SECONDS: Final = 75
MOST_CONNECTIONS: Final = 4096
_OK_LINE: Final = b"HTTP/1.1 200 OK\r\n"
_SERVER: Final = b"gunicorn/asgi"
_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class _Log:
    """A logger for gunicorn that drops the content of requests: it logs the type and place of an error."""

    access_log_enabled = False

    def __init__(self) -> None:
        self._log = logging.getLogger("strongroom.serve.http")

    def exception(self, message: str, *_: Any, **__: Any) -> None:
        kind = sys.exc_info()[0]
        self._log.error("%s %s", message.partition(":")[0].rstrip("."), kind.__name__ if kind else "")

    def debug(self, message: str, *_: Any, **__: Any) -> None:
        self._log.debug("%s", message.partition("%")[0])

    info = debug

    def warning(self, message: str, *_: Any, **__: Any) -> None:
        self._log.warning("%s", message.partition("%")[0])

    error = critical = warning


class Connections:
    """All connections of the server, in the place of gunicorn's worker.

    Args:
        app: The application (ASGI).
        loop: The loop that they run in.
        most: How many there may be.
    """

    def __init__(
        self, app: Callable[..., Any], loop: asyncio.AbstractEventLoop, *, most: int = MOST_CONNECTIONS
    ) -> None:
        # Asked of the class itself: gunicorn notes what it finds on the class that asks.
        ASGIProtocol._check_h1c_protocol_available()  # noqa: SLF001  # as above
        self.asgi = app
        self.loop = loop
        self.log = _Log()
        self.cfg = _Settings()
        self.alive = True
        self.nr = 0
        self.nr_conns = 0
        self.max_requests = sys.maxsize
        self.most = most
        self.open: dict[Connection, None] = {}
        """In the order in which they came."""
        self._handshakes: list[Handshakes] = []

    async def listen(self, at: Listener, tls: ssl.SSLContext | None = None) -> Any:
        """Accept connections at a listener, with TLS if `tls` is given, until the result is closed."""
        if tls is None:
            return await self.loop.create_server(lambda: self.protocol(is_tcp=at.is_tcp), sock=at.socket)
        accepting = Handshakes(
            at.socket, tls, lambda: self.protocol(is_tcp=at.is_tcp, has_room=True), self.make_room
        )
        self._handshakes.append(accepting)
        return accepting

    def protocol(self, *, is_tcp: bool, has_room: bool = False) -> Connection:
        """Return the protocol for a new connection, for which there may be room already."""
        return Connection(self, is_tcp=is_tcp, has_room=has_room)

    def make_room(self) -> bool:
        """Return whether there may be one more connection; the oldest without a known client ends for it.

        Who has not shown yet that it is a client keeps no client out.
        """
        if len(self.open) + sum(map(len, self._handshakes)) < self.most:
            return True
        if any(one.end_oldest() for one in self._handshakes):
            return True
        unknown = next((one for one in self.open if not one.is_known), None)
        if unknown is None:
            return False
        del self.open[unknown]
        unknown.abort()
        return True

    async def drain(self, seconds: float) -> None:
        """Close idle connections, and wait until the others have their answer, or the time is over."""
        self.alive = False  # each answer from now on closes its connection
        deadline = self.loop.time() + seconds
        while self.open and self.loop.time() < deadline:
            for one in list(self.open):
                one.close_if_idle()
            await asyncio.sleep(0.01)
        for one in list(self.open):
            one.abort()


class _Settings:
    """The settings for gunicorn's protocol; others have gunicorn's default."""

    settings = pre_request = post_request = None
    protocol = "http"
    http_protocols = ("h1",)
    http2_cleartext = proxy_protocol = "off"
    http_parser = "fast"  # the one in C; it refuses more than the other
    root_path = ""
    is_ssl = False  # where a connection has TLS, its transport says so
    keepalive = _IDLE_SECONDS
    timeout = _BODY_SECONDS
    asgi_disconnect_grace_period = 3
    limit_request_line = limit_request_field_size = 8190
    limit_request_fields = 64
    permit_obsolete_folding = strip_header_spaces = False
    permit_unconventional_http_method = permit_unconventional_http_version = False
    header_map = "drop"
    forwarded_allow_ips = forwarder_headers = ()
    secure_scheme_headers: Final = MappingProxyType(
        {"X-FORWARDED-PROTOCOL": "ssl", "X-FORWARDED-PROTO": "https", "X-FORWARDED-SSL": "on"}
    )
    """Taken from who is at the other end of a Unix socket alone, for the list of addresses is empty."""

    def forwarded_allow_networks(self) -> tuple[()]:
        return ()

    def __getattr__(self, name: str) -> Any:
        # Not asked for by the release that this was written for: to load them all takes a tenth of a start.
        from gunicorn.config import Config

        value = getattr(Config(), name)
        setattr(self, name, value)
        return value


class Connection(ASGIProtocol):  # type: ignore[misc]  # gunicorn has no types
    """One connection, with its peer and its time limits."""

    def __init__(self, connections: Connections, *, is_tcp: bool, has_room: bool = False) -> None:
        super().__init__(connections)
        self.is_known = False
        """Whether a request of a client has come."""
        self._is_tcp = is_tcp
        self._has_room = has_room
        self._peer: tuple[bool, int | None, str] = (is_tcp, None, "-")
        self._sent: tuple[bool, int | None, bytes] | None = None
        """All bytes of the request under way, and from whom, where they came at once, alone."""
        self._has_part = False
        """Whether a part of a request has come, and not the end of its headers."""
        self._answered_at = -math.inf
        self._head_timer: asyncio.TimerHandle | None = None
        self._refused = False
        self._is_last = False
        self._has_ended = False
        """Whether the client sends nothing more, and may still wait for answers."""

    def connection_made(self, transport: Any) -> None:
        self._peer = (self._is_tcp, *_who(transport, is_tcp=self._is_tcp))
        self._refused = not (self._has_room or self.worker.make_room())
        self.worker.open[self] = None
        super().connection_made(transport)
        if self._refused:
            self._send_error_response(503, "")
            self._close_transport()
            return
        self._arm_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self.worker.open.pop(self, None)
        self._cancel_head_timer()
        super().connection_lost(exc)

    def eof_received(self) -> bool:
        """Answer what came whole before the client closed its side, as `socat` and `nc -N` do.

        Who closed both sides looks the same; writing to them ends the connection.
        """
        self._has_ended = True
        receiver = self._body_receiver
        is_whole = self._current_request is not None and receiver is not None and receiver._complete  # noqa: SLF001  # gunicorn's own
        # TLS has no half-closed connections in asyncio.
        return not self._is_ssl and not self._closed and (is_whole or bool(self._finishing_calls))

    def data_received(self, data: bytes) -> None:
        if self._current_request is not None or self._has_part:
            super().data_received(data)
            return
        # Between two requests: nothing of the one that comes has been read.
        sent = (self._is_tcp, self._peer[1], data)
        if self._is_answered(sent):
            return
        super().data_received(data)
        if self._has_part:
            if self._head_timer is None and not self._closed:
                self._arm_head_timer()
        elif not self._closed and not self._callback_parser.remaining():
            self._sent = sent

    def _is_answered(self, sent: tuple[bool, int | None, bytes]) -> bool:
        """Answer a request that was answered before; return whether it was."""
        if self._closed or not self.worker.alive or self._finishing_calls or self._flow_control.write_paused:
            return False
        answer = self.worker.asgi.repeats.answer(sent)
        if answer is None:
            return False
        fields, body = answer
        more = b"Server: %b\r\nDate: %b\r\n\r\n" % (_SERVER, http_date(int(time.time())))
        self._safe_write(b"".join((_OK_LINE, fields, more, body)))
        self.is_known = True
        self._answered_at = self.worker.loop.time()
        if self._head_timer is not None:  # that of the first request of the connection
            self._cancel_head_timer()
            self._arm_keepalive_timer()
        return True

    def _feed_callback_parser(self, data: bytes) -> bool:
        if self._current_request is None:
            self._has_part, self._sent = True, None
        goes_on: bool = super()._feed_callback_parser(data)
        receiver = self._body_receiver
        if self._has_ended and receiver is not None and not receiver._complete:  # noqa: SLF001  # gunicorn's own
            receiver.signal_disconnect()  # what is missing of the body does not come any more
        return goes_on

    def _arm_keepalive_timer(self) -> None:
        if self._has_ended:  # everything is answered
            super()._keepalive_timeout()
        else:
            super()._arm_keepalive_timer()

    def _on_headers_complete(self) -> bool:
        self._has_part = False
        self._cancel_head_timer()
        skips: bool = super()._on_headers_complete()
        return skips

    def _keepalive_timeout(self) -> None:
        left = self._answered_at + self._keepalive - self.worker.loop.time()
        if left > 0:  # requests that were answered at once did not set the timer
            self._keepalive_handle = self.worker.loop.call_later(left, self._keepalive_timeout)
        else:
            super()._keepalive_timeout()

    def _build_http_scope(self, *given: Any) -> dict[str, Any]:
        scope: dict[str, Any] = super()._build_http_scope(*given)
        scope["strongroom.peer"] = self._peer
        scope["strongroom.close"] = self._close_after_answer
        scope["strongroom.known"] = self._note_client
        scope["strongroom.sent"] = self._sent if self._is_plain(given[0]) else None
        return scope

    def _is_plain(self, request: Any) -> bool:
        """Return whether a request has no body and keeps its connection, so that its bytes identify it."""
        return (
            (request.method, request.version) == ("GET", (1, 1))
            and not (request.content_length or request.chunked)
            and not self._will_close(request, False)
        )

    def _close_after_answer(self) -> None:
        self._is_last = True

    def _note_client(self) -> None:
        self.is_known = True

    def _will_close(self, *given: Any) -> bool:
        # gunicorn passes an application's `Connection: close` on, and keeps the connection all the same.
        closes: bool = self._is_last or super()._will_close(*given)
        return closes

    def _is_websocket_upgrade(self, request: Any) -> bool:
        del request
        return False  # there is nothing of the kind here

    def _send_response_start(self, status: int, headers: Any, request: Any, close: bool = False) -> None:
        # gunicorn would add both, and load the modules for e-mail to write the date.
        more = ((b"Server", _SERVER), (b"Date", http_date(int(time.time()))))
        super()._send_response_start(status, (*headers, *more), request, close)

    def _send_error_response(self, status: int, message: str, extra_headers: Any = ()) -> None:
        # gunicorn's text repeats a part of the request.
        del message, extra_headers
        body = as_json({"errors": [_REASONS.get(status, "the request cannot be read")]})
        head = (
            f"HTTP/1.1 {status} {_PHRASES.get(status, 'Error')}\r\ncontent-type: application/json\r\n"
            f"cache-control: no-store\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self._safe_write(head.encode() + body)

    def close_if_idle(self) -> None:
        """Close the connection unless a request is under way."""
        if self._current_request is None and not self._finishing_calls:
            self._close_transport()
            if self._request_ready is not None:
                self._request_ready.set()

    def abort(self) -> None:
        """Close the connection, even during a request."""
        if self.transport is not None:
            self.transport.abort()

    def _arm_head_timer(self) -> None:
        self._head_timer = self.worker.loop.call_later(_HEAD_SECONDS, self._too_slow)

    def _cancel_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _too_slow(self) -> None:
        self._head_timer = None
        if self._current_request is None and not self._closed:
            self._send_error_response(408, "")
            super()._keepalive_timeout()


_REASONS: Final = {
    408: "the request took too long",
    414: "the path is too long",
    431: "the headers are too large",
    500: "internal error",
    501: "a transfer coding that is not known",
    503: "too many connections",
}
_PHRASES: Final = {
    400: "Bad Request",
    408: "Request Timeout",
    414: "URI Too Long",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
}


@lru_cache(maxsize=1)
def http_date(second: int) -> bytes:
    """Return a time since the epoch as HTTP writes it (RFC 9110), in English whatever the locale is."""
    now = time.gmtime(second)
    day, month = _DAYS[now.tm_wday], _MONTHS[now.tm_mon - 1]
    return f"{day}, {now.tm_mday:02} {month} {now.tm_year:04} {time.strftime('%H:%M:%S', now)} GMT".encode()


def _who(transport: Any, *, is_tcp: bool) -> tuple[int | None, str]:
    """Return the user at the other end, on a Unix socket, and a name to count it by."""
    if is_tcp:
        peer = transport.get_extra_info("peername")
        return None, str(peer[0]) if peer else "-"
    sock = transport.get_extra_info("socket")
    uid = peer_uid(sock.fileno()) if sock is not None else None
    return uid, f"uid {uid}"
