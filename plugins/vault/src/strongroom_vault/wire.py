"""HTTP/1.1 over one socket. Every step ends at the deadline of the call, even if bytes come slowly."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from typing import Any, Final

_PIECE: Final = 65_536
_LONGEST_HEAD: Final = 65_536
_LONGEST_BODY: Final = 1 << 30
_DIGITS: Final = 18
"""Of a length, at most: Python refuses to read numbers of thousands."""
_LONGEST_WAIT: Final = 86_400.0
"""Seconds; a socket does not accept longer timeouts."""
_NO_CONTENT: Final = 204
_NOT_MODIFIED: Final = 304
_OK: Final = 200
_REDIRECT: Final = 300
_ERROR: Final = 400


class LostError(Exception):
    """No whole answer came: the connection ended, or the answer is not HTTP."""


class Call:
    """A deadline that all requests of one operation share, and facts about the last answer."""

    __slots__ = ("date", "deadline", "redirected", "retry_after", "round_trip", "status")

    def __init__(self, timeout: float) -> None:
        self.deadline = time.monotonic() + timeout
        self.retry_after: float | None = None
        self.status: int | None = None
        self.date: str | None = None
        self.redirected = ""
        """Where the last request was redirected, without its path; empty if it was not."""
        self.round_trip = 0.0
        """Seconds from the last request, sent over an open connection, to the end of its answer."""

    def left(self) -> float:
        return self.deadline - time.monotonic()

    def wait(self) -> float:
        """Return the seconds that a socket may wait, or raise `TimeoutError`."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return min(left, _LONGEST_WAIT)


class Reply:
    """An answer: its status, its headers by their names in lower case, and its body."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body


class Connection:
    """An open connection, used by one thread at a time; `answered` tells whether an answer began to come."""

    __slots__ = ("_buffer", "_socket", "answered", "keeps", "used")

    def __init__(self, opened: Any) -> None:
        self._socket = opened
        self._buffer = b""
        self.answered = False
        self.keeps = True
        self.used = time.monotonic()

    def ask(self, request: bytes, call: Call) -> Reply:
        """Send a request and return the answer.

        Raises:
            TimeoutError: The call's deadline came first.
            LostError, OSError: The connection ended.
        """
        self.answered = False
        try:
            self.send(request, call)
        except TimeoutError:
            raise
        except OSError:
            reply = self._early_refusal(call)
            if reply is None:
                raise
            return reply
        return self.reply(call)

    def _early_refusal(self, call: Call) -> Reply | None:
        """Return the answer of a server that ended the connection before it had read a whole request.

        It does so if a body is too long. What it sent before is still there to be read.
        """
        try:
            reply = self.reply(call)
        except (LostError, OSError):
            return None
        self.keeps = False
        return reply if reply.status >= _ERROR else None

    def send(self, data: bytes, call: Call) -> None:
        """Send all of `data`."""
        self._socket.settimeout(call.wait())
        sent = self._socket.send(data)
        rest = memoryview(data)[sent:]
        while rest:
            self._socket.settimeout(call.wait())
            rest = rest[self._socket.send(rest) :]

    def reply(self, call: Call) -> Reply:
        """Return the next answer; interim ones (1xx) are skipped."""
        while True:
            version, status, headers = self._head(call)
            if status >= _OK:
                break
        wishes = headers.get("connection", "").lower()
        self.keeps = "close" not in wishes and (version != "HTTP/1.0" or "keep-alive" in wishes)
        body = self._body(status, headers, call)
        # Bytes behind the answer would be taken for the answer to the next request.
        self.keeps = self.keeps and not self._buffer
        self.used = time.monotonic()
        return Reply(status, headers, body)

    def tunnel(self, request: bytes, call: Call) -> None:
        """Send a request CONNECT to a proxy; all bytes after its answer come from the server.

        Raises:
            LostError: The proxy does not open it.
        """
        self.send(request, call)
        status = self._head(call)[1]
        if not _OK <= status < _REDIRECT or self._buffer:
            raise LostError(f"the proxy answers {status}")

    def is_idle(self) -> bool:
        """Return whether the server has neither closed the connection nor sent anything."""
        try:
            self._socket.settimeout(0)
            # Not that of a TLS socket, which has no flags.
            socket.socket.recv(self._socket, 1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def close(self) -> None:
        """End the connection."""
        self._socket.close()

    def _head(self, call: Call) -> tuple[str, int, dict[str, str]]:
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            if len(self._buffer) > _LONGEST_HEAD:
                raise LostError("what answers does not speak HTTP")
            self._buffer += self._receive(call)
        head, self._buffer = self._buffer[:end], self._buffer[end + 4 :]
        first, *lines = head.decode("latin-1").split("\r\n")
        version, _, rest = first.partition(" ")
        status = rest[:3]
        if not version.startswith("HTTP/1.") or not _is_number(status) or rest[3:4].strip():
            raise LostError("what answers does not speak HTTP")
        headers: dict[str, str] = {}
        for line in lines:
            name, mark, value = line.partition(":")
            if not mark or not name or name != name.strip():
                raise LostError("what answers does not speak HTTP")
            name, value = name.lower(), value.strip()
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        return version, int(status), headers

    def _body(self, status: int, headers: Mapping[str, str], call: Call) -> bytes:
        if status in {_NO_CONTENT, _NOT_MODIFIED}:
            return b""
        coding, length = headers.get("transfer-encoding"), headers.get("content-length")
        if coding is not None:
            if coding.lower() != "chunked":
                raise LostError("the answer has an unknown encoding")
            # With two lengths the end of the answer is not certain.
            self.keeps = self.keeps and length is None
            return self._chunks(call)
        if length is not None:
            if not _is_number(length) or len(length) > _DIGITS or int(length) > _LONGEST_BODY:
                raise LostError("the length of the answer is not valid")
            return self._take(int(length), call)
        self.keeps = False
        return self._rest(call)

    def _chunks(self, call: Call) -> bytes:
        parts, total = [], 0
        while True:
            size = self._line(call).partition(b";")[0].strip()
            try:
                length = int(size, 16) if size.isalnum() else -1
            except ValueError:
                length = -1
            total += length
            if length < 0 or total > _LONGEST_BODY:
                raise LostError("the length of the answer is not valid")
            if length == 0:
                break
            parts.append(self._take(length, call))
            if self._take(2, call) != b"\r\n":
                raise LostError("the answer is damaged")
        while self._line(call):
            pass  # trailers
        return b"".join(parts)

    def _line(self, call: Call) -> bytes:
        while (end := self._buffer.find(b"\r\n")) < 0:
            if len(self._buffer) > _LONGEST_HEAD:
                raise LostError("the answer is damaged")
            self._buffer += self._receive(call)
        line, self._buffer = self._buffer[:end], self._buffer[end + 2 :]
        return line

    def _take(self, length: int, call: Call) -> bytes:
        parts, held = [self._buffer], len(self._buffer)
        while held < length:
            parts.append(self._receive(call))
            held += len(parts[-1])
        data = b"".join(parts)
        self._buffer = data[length:]
        return data[:length]

    def _rest(self, call: Call) -> bytes:
        parts, held = [self._buffer], len(self._buffer)
        self._buffer = b""
        while piece := self._receive(call, may_end=True):
            parts.append(piece)
            held += len(piece)
            if held > _LONGEST_BODY:
                raise LostError("the answer has no end")
        return b"".join(parts)

    def _receive(self, call: Call, *, may_end: bool = False) -> bytes:
        self._socket.settimeout(call.wait())
        piece: bytes = self._socket.recv(_PIECE)
        if piece:
            self.answered = True
        elif not may_end:
            raise LostError("the connection was closed")
        return piece


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()
