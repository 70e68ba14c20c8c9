"""HTTP/1.1 on own sockets, for an ASGI application. The parser is `gunicorn_h1c`; no other module uses it."""

from __future__ import annotations

import asyncio
import logging
import math
import re
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from gunicorn_h1c import H1CProtocol, LimitRequestHeaders, LimitRequestLine

from strongroom_serve.answers import as_json
from strongroom_serve.incoming import Incoming
from strongroom_serve.sockets import peer_uid

__all__ = ["Connections"]

_log = logging.getLogger("strongroom.serve.http")
_HEAD_SECONDS: Final = 15.0
"""How long the headers of a request may take."""
_IDLE_SECONDS: Final = 75
_LOST_SECONDS: Final = 3.0
"""How long a request may go on whose client is gone."""
_MOST_CONNECTIONS: Final = 4096
_MOST_LINE_BYTES: Final = 8190
"""Of the request line, and of each header."""
_MOST_HEADERS: Final = 64
_MOST_HELD_BYTES: Final = 256 << 10
"""Of a body that the application has not read yet; more is left in the socket."""
_MOST_JOINED_BYTES: Final = 64 << 10
"""Of an answer that is copied behind its headers, to be sent with them."""
_MOST_UNSENT_BYTES: Final = 64 << 10
_OK_LINE: Final = b"HTTP/1.1 200 OK\r\n"
_SECURE: Final = {b"x-forwarded-protocol": b"ssl", b"x-forwarded-proto": b"https", b"x-forwarded-ssl": b"on"}
"""How a proxy says that its client came through TLS; it is believed on a Unix socket alone."""
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_PHRASES: Final = {
    200: "OK",
    204: "No Content",
    303: "See Other",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    413: "Payload Too Large",
    414: "URI Too Long",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    503: "Service Unavailable",
}
_REASONS: Final = {
    408: "the request took too long",
    414: "the path is too long",
    431: "the headers are too large",
    500: "internal error",
    503: "too many connections",
}


class Connections:
    """All connections of the server.

    Args:
        app: The application (ASGI). It says how long each answer is.
        loop: The loop that they run in.
    """

    def __init__(self, app: Any, loop: asyncio.AbstractEventLoop) -> None:
        self.app = app
        self.loop = loop
        self.alive = True
        self.open: set[Connection] = set()
        self._date = (0, b"")

    def protocol(self, *, is_tcp: bool) -> Connection:
        """Return the protocol for a new connection."""
        return Connection(self, is_tcp=is_tcp)

    def date(self) -> bytes:
        """Return the header `Date`, with the end of its line."""
        second = int(time.time())
        if second != self._date[0]:
            now = time.gmtime(second)
            day, month = _DAYS[now.tm_wday], _MONTHS[now.tm_mon - 1]  # in English, whatever the locale
            moment = f"{now.tm_hour:02}:{now.tm_min:02}:{now.tm_sec:02}"
            self._date = (
                second,
                f"Date: {day}, {now.tm_mday:02} {month} {now.tm_year} {moment} GMT\r\n".encode(),
            )
        return self._date[1]

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


class Connection(asyncio.Protocol):
    """One connection, with its peer and its time limits. Its requests are answered one after the other."""

    def __init__(self, connections: Connections, *, is_tcp: bool) -> None:
        self._all = connections
        self._is_tcp = is_tcp
        self._peer: tuple[bool, int | None, str] = (is_tcp, None, "-")
        self._transport: Any = None
        self._is_ssl = False
        # The callbacks take notes, and raise nothing: what `feed` raises is of the parser.
        self._parser = H1CProtocol(
            on_headers_complete=self._note_headers,
            on_body=self._note_piece,
            on_message_complete=self._note_end,
            limit_request_line=_MOST_LINE_BYTES,
            limit_request_fields=_MOST_HEADERS,
            limit_request_field_size=_MOST_LINE_BYTES,
        )
        self._incoming: Incoming | None = None
        """Of the request under way."""
        self._task: asyncio.Task[None] | None = None
        """What answers it."""
        self._sent: tuple[bool, int | None, bytes] | None = None
        """All bytes of the request under way, and from whom, where they came at once, alone."""
        self._has_part = False
        """Whether a part of a request has come, and not the end of its headers."""
        self._head = b""
        """The headers of the answer, until they are sent with the first part of its body."""
        self._has_begun = self._has_answered = self._has_body = False
        """Whether the answer has begun, and is whole; and whether it has a body."""
        self._answered_at = -math.inf
        self._head_timer: asyncio.TimerHandle | None = None
        self._idle_timer: asyncio.TimerHandle | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._is_paused = False
        self._is_last = False
        """Whether the connection closes after the answer."""
        self._has_ended = False
        """Whether the client sends nothing more, and may still wait for answers."""
        self._closed = False

    # --- what the transport tells ---

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._peer = (self._is_tcp, *_who(transport, is_tcp=self._is_tcp))
        self._is_ssl = transport.get_extra_info("ssl_object") is not None
        transport.set_write_buffer_limits(high=_MOST_UNSENT_BYTES)
        self._all.open.add(self)
        if len(self._all.open) > _MOST_CONNECTIONS:
            self._refuse(503)
        else:
            self._arm_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._all.open.discard(self)
        self._closed = True
        self._cancel_timers()
        self._writable.set()
        if self._incoming is not None:
            self._incoming.lose()
        if self._task is not None:
            self._all.loop.call_later(_LOST_SECONDS, self._task.cancel)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def eof_received(self) -> bool:
        """Answer what came whole before the client closed its side, as `socat` and `nc -N` do.

        Who closed both sides looks the same; writing to them ends the connection.
        """
        self._has_ended = True
        is_whole = self._incoming is not None and self._incoming.is_whole
        # TLS has no half-closed connections in asyncio.
        return not self._is_ssl and not self._closed and is_whole

    def data_received(self, data: bytes) -> None:
        if self._closed:
            return
        if self._task is not None or self._has_part:
            self._feed(data)
            return
        # Between two requests: nothing of the one that comes has been read.
        sent = (self._is_tcp, self._peer[1], data)
        if self._is_answered(sent):
            return
        self._feed(data)
        if self._has_part:
            if self._head_timer is None and not self._closed:
                self._arm_head_timer()
        elif not self._closed and not self._parser.remaining():
            self._sent = sent

    def _is_answered(self, sent: tuple[bool, int | None, bytes]) -> bool:
        """Answer a request that was answered before; return whether it was."""
        if not self._all.alive or not self._writable.is_set():
            return False
        answer = self._all.app.repeats.answer(sent)
        if answer is None:
            return False
        fields, body = answer
        self._write(b"".join((_OK_LINE, fields, self._all.date(), b"\r\n", body)))
        self._answered_at = self._all.loop.time()
        if self._head_timer is not None:  # that of the first request of the connection
            self._arm_idle_timer()
        return True

    # --- what the parser tells ---

    def _feed(self, data: bytes) -> None:
        if self._task is None:
            self._has_part, self._sent = True, None
        try:
            self._parser.feed(data)
        except LimitRequestLine:
            self._refuse(414)
        except LimitRequestHeaders:
            self._refuse(431)
        except ValueError:  # all others of the parser
            self._refuse(400)
        incoming = self._incoming
        if incoming is None:
            return
        if self._task is None and not self._closed:
            self._begin(incoming)
        if self._has_ended and not incoming.is_whole:
            incoming.lose()  # what is missing of the body does not come any more
        if incoming.held > _MOST_HELD_BYTES and not self._is_paused and not self._closed:
            self._is_paused = True
            self._transport.pause_reading()

    def _note_headers(self) -> None:
        self._incoming = Incoming(self._write, self._read_on)

    def _note_piece(self, piece: bytes) -> None:
        if self._incoming is not None:
            self._incoming.add(piece)

    def _note_end(self) -> None:
        if self._incoming is not None:
            self._incoming.end()

    # --- one request ---

    def _begin(self, incoming: Incoming) -> None:
        """Let the application answer the request whose headers have come."""
        self._has_part = False
        self._cancel_timers()
        parser = self._parser
        headers = parser.asgi_headers
        has_coding = any(name == b"transfer-encoding" for name, _ in headers)
        scheme = self._scheme(headers)
        # The parser passes over a path that is not ASCII, and over a body with an end that it does not know.
        if not scheme or not parser.path.isascii() or (has_coding and not parser.is_chunked):
            self._refuse(400)
            return
        waits = any(name == b"expect" and value.lower() == b"100-continue" for name, value in headers)
        incoming.expects = waits and not incoming.held and parser.http_version > (1, 0)
        self._is_last = not self._keeps_open(headers)
        self._task = self._all.loop.create_task(self._serve(incoming, self._scope(headers, scheme)))

    def _scheme(self, headers: Iterable[tuple[bytes, bytes]]) -> str:
        """Return the scheme that the client used; "" if its proxy says two different things."""
        is_secure = {self._is_ssl}
        if not self._is_tcp:
            is_secure = {value == _SECURE[name] for name, value in headers if name in _SECURE} or is_secure
        if len(is_secure) > 1:
            return ""
        return "https" if True in is_secure else "http"

    def _keeps_open(self, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        parser = self._parser
        if parser.http_version == (1, 0):
            first = next((value for name, value in headers if name == b"connection"), b"")
            return bool(parser.should_keep_alive) and first.strip(b" \t").lower() == b"keep-alive"
        # After a CONNECT no HTTP follows (RFC 9931).
        return bool(parser.should_keep_alive) and parser.method != b"CONNECT"

    def _scope(self, headers: list[tuple[bytes, bytes]], scheme: str) -> dict[str, Any]:
        raw_path, _, query = self._parser.path.partition(b"?")
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": ".".join(map(str, self._parser.http_version)),
            "method": self._parser.method.decode("ascii"),
            "scheme": scheme,
            "path": unquote_to_bytes(raw_path).decode(errors="replace"),
            "raw_path": raw_path,
            "query_string": query,
            "root_path": "",
            "headers": headers,
            "server": None,
            "client": None,
            "strongroom.peer": self._peer,
            "strongroom.close": self._close_after_answer,
        }

    async def _serve(self, incoming: Incoming, scope: dict[str, Any]) -> None:
        scope["strongroom.sent"] = self._sent if self._is_plain() else None
        try:
            await self._all.app(scope, incoming.receive, self._send)
        except Exception as error:  # noqa: BLE001  # its text may hold anything
            _log.error("a request failed: %s", type(error).__name__)
            self._has_answered = False
        finally:
            self._task = None
            if not self._has_answered:
                self._refuse(500)
            elif self._is_last or not self._all.alive or not incoming.is_whole:
                # The rest of a body would be taken for the next request.
                self._close()
            else:
                self._await_next()

    def _is_plain(self) -> bool:
        """Return whether a request has no body and keeps its connection, so that its bytes identify it."""
        parser = self._parser
        return (
            (parser.method, parser.http_version) == (b"GET", (1, 1))
            and not (parser.content_length or parser.is_chunked)
            and not self._is_last
            and self._all.alive
        )

    def _close_after_answer(self) -> None:
        self._is_last = True

    async def _send(self, message: dict[str, Any]) -> None:
        """Send a part of the answer (ASGI)."""
        if self._closed:
            return
        if message["type"] == "http.response.start":
            self._start(message["status"], message["headers"])
            return
        head, self._head = self._head, b""
        body = message.get("body", b"") if self._has_body else b""
        self._has_answered = not message.get("more_body", False)
        if len(body) < _MOST_JOINED_BYTES:
            self._write(head + body)
        else:
            self._write(head, body)
        await self._writable.wait()

    def _start(self, status: int, fields: list[tuple[bytes, bytes]]) -> None:
        self._has_body = status not in {204, 304} and self._parser.method != b"HEAD"
        if status == 204:  # noqa: PLR2004  # it has no length (RFC 9110)
            fields = [one for one in fields if one[0] != b"content-length"]
        elif all(name != b"content-length" for name, _ in fields):
            self._is_last = True  # its end is that of the connection
        if any(map(_CONTROL.search, (text for one in fields for text in one))):
            raise ValueError("a header of an answer has a control character")
        closes = self._is_last or not self._all.alive
        if closes and all(name != b"connection" for name, _ in fields):
            fields = [*fields, (b"connection", b"close")]
        line = b"HTTP/%d.%d %d %b\r\n" % (*self._parser.http_version, status, _phrase(status))
        lines = [b"%b: %b\r\n" % one for one in fields]
        self._head = b"".join((line, *lines, self._all.date(), b"\r\n"))
        self._is_last = closes
        self._has_begun = True
        if self._incoming is not None:
            self._incoming.expects = False  # the answer comes before the body, and instead of it

    def _await_next(self) -> None:
        """Take up the next request, of which the parser may have a part, or all."""
        self._incoming, self._head = None, b""
        self._has_begun = self._has_answered = False
        self._read_again()
        if self._parser.remaining_truncated:
            self._close()  # a part of it is lost
            return
        rest = self._parser.remaining()
        self._parser.reset()
        if rest:
            self._feed(rest)
        if self._closed or self._task is not None:
            return
        if self._has_ended:  # everything is answered
            self._close()
        elif self._has_part:
            self._arm_head_timer()
        else:
            self._arm_idle_timer()

    # --- reading, writing and the end ---

    def _read_on(self) -> None:
        """Read from the socket again, if the application has read enough of a body."""
        if self._incoming is not None and self._incoming.held <= _MOST_HELD_BYTES:
            self._read_again()

    def _read_again(self) -> None:
        if self._is_paused and not self._closed:
            self._is_paused = False
            self._transport.resume_reading()

    def _write(self, *parts: bytes) -> None:
        """Send bytes, unless the client is gone."""
        with suppress(OSError, RuntimeError):
            if len(parts) == 1:
                self._transport.write(parts[0])
            else:
                self._transport.writelines(parts)

    def _refuse(self, status: int) -> None:
        """Answer with an error, unless an answer has begun, and close the connection."""
        if not self._closed and not self._has_begun:
            body = as_json({"errors": [_REASONS.get(status, "the request cannot be read")]})
            head = (
                f"HTTP/1.1 {status} {_phrase(status).decode()}\r\ncontent-type: application/json\r\n"
                f"cache-control: no-store\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
            )
            self._write(head.encode() + body)
        self._close()

    def _close(self) -> None:
        if self._closed or self._transport is None:
            return
        self._closed = True
        self._cancel_timers()
        with suppress(OSError, RuntimeError):
            if self._transport.can_write_eof():
                self._transport.write_eof()
        self._transport.close()

    def close_if_idle(self) -> None:
        """Close the connection unless a request is under way."""
        if self._task is None:
            self._close()

    def abort(self) -> None:
        """Close the connection, even during a request."""
        if self._transport is not None:
            self._transport.abort()

    # --- time ---

    def _arm_head_timer(self) -> None:
        self._cancel_timers()
        self._head_timer = self._all.loop.call_later(_HEAD_SECONDS, self._refuse, 408)

    def _arm_idle_timer(self) -> None:
        self._cancel_timers()
        self._idle_timer = self._all.loop.call_later(_IDLE_SECONDS, self._end_if_idle)

    def _cancel_timers(self) -> None:
        for timer in (self._head_timer, self._idle_timer):
            if timer is not None:
                timer.cancel()
        self._head_timer = self._idle_timer = None

    def _end_if_idle(self) -> None:
        left = self._answered_at + _IDLE_SECONDS - self._all.loop.time()
        if left > 0:  # requests that were answered at once did not set the timer
            self._idle_timer = self._all.loop.call_later(left, self._end_if_idle)
        else:
            self._close()


def _phrase(status: int) -> bytes:
    return _PHRASES.get(status, "Unknown").encode()


def _who(transport: Any, *, is_tcp: bool) -> tuple[int | None, str]:
    """Return the user at the other end, on a Unix socket, and a name to count it by."""
    if is_tcp:
        peer = transport.get_extra_info("peername")
        return None, str(peer[0]) if peer else "-"
    sock = transport.get_extra_info("socket")
    uid = peer_uid(sock.fileno()) if sock is not None else None
    return uid, f"uid {uid}"
