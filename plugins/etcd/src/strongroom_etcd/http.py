"""HTTP/1.1 over own sockets, so that every call ends in time, and forks are safe."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from typing import Final

from strongroom.deadlines import Deadline, DeadlineExceededError

__all__ = ["HTTPConnection", "LostError", "is_number"]

_CHUNK: Final = 65_536
_MOST: Final = 1 << 30
_DIGITS: Final = 20
"""Of a number, at most: 64 bits have no more, and Python refuses to read thousands."""
_KEEPALIVE: Final = {"TCP_KEEPIDLE": 30, "TCP_KEEPALIVE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}
"""Seconds of silence, seconds between questions, and questions. A watch says nothing for hours: a firewall
would forget its connection, and without these the system would only ask after two hours."""


class LostError(Exception):
    """The connection ended before the answer came, or what came is not HTTP."""


def is_number(text: object) -> bool:
    """Return whether an answer's `text` is a number of 64 bits or little more."""
    return isinstance(text, str) and text.isascii() and text.isdigit() and len(text) <= _DIGITS


class HTTPConnection:
    """One connection to a member; it is used by one thread at a time."""

    __slots__ = ("_buffer", "_host", "fresh", "member", "socket", "used")

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None, deadline: Deadline) -> None:
        self._host = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._buffer = b""
        self.fresh = True
        self.member = 0
        self.used = time.monotonic()
        opened = socket.create_connection((host, port), timeout=_seconds(deadline))
        try:
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for name, number in _KEEPALIVE.items():
                if hasattr(socket, name):  # each system has its own
                    opened.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), number)
            self.socket = opened if tls is None else tls.wrap_socket(opened, server_hostname=host)
        except BaseException:
            opened.close()
            raise

    def post(self, path: str, body: bytes, token: str | None, deadline: Deadline) -> tuple[int, bytes]:
        """Send a request and return status and body of the answer.

        Raises:
            LostError: The connection ended.
            DeadlineExceededError: There was no answer in time.
        """
        self.send(path, body, token, deadline)
        status, length = self.head(deadline)
        self.fresh = False
        return status, self.body(length, deadline)

    def send(
        self, path: str, body: bytes, token: str | None, deadline: Deadline, *, needs_leader: bool = False
    ) -> None:
        """Send a request; one that `needs_leader` is ended by a member that loses its leader.

        Raises:
            DeadlineExceededError: It could not be sent in time.
            LostError: The connection is lost.
        """
        login = f"Authorization: {token}\r\n" if token is not None else ""
        if needs_leader:
            login += "Grpc-Metadata-hasleader: true\r\n"
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {self._host}\r\n{login}"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        try:
            self.socket.settimeout(_seconds(deadline))
            self.socket.sendall(head.encode() + body)
        except TimeoutError:
            raise DeadlineExceededError from None
        except OSError as error:
            said = str(error)
        else:
            return
        raise LostError(said)

    def head(self, deadline: Deadline) -> tuple[int, int | None]:
        """Return status and length of the answer; None for the length if it comes in chunks.

        Raises:
            LostError: It is not an answer of HTTP, or does not say how long it is.
        """
        text = self._until(b"\r\n\r\n", deadline).decode("latin-1")
        first, *lines = text.split("\r\n")
        status = first.split(" ")[1:2]
        if not first.startswith("HTTP/1.") or not status or not is_number(status[0]):
            raise LostError("what answers does not speak HTTP")
        headers = {
            name.strip().lower(): value.strip() for name, _, value in (one.partition(":") for one in lines)
        }
        if "chunked" in headers.get("transfer-encoding", ""):
            return int(status[0]), None
        length = headers.get("content-length", "")
        if not is_number(length) or int(length) > _MOST:
            raise LostError("the answer has no length")
        return int(status[0]), int(length)

    def body(self, length: int | None, deadline: Deadline) -> bytes:
        """Return a whole answer, of the length that its head says."""
        return self._take(length, deadline) if length is not None else b"".join(self.chunks(deadline))

    def chunks(self, deadline: Deadline) -> Iterator[bytes]:
        """Yield the chunks of an answer.

        Raises:
            LostError: The length of one is not a number.
        """
        while True:
            size = self._until(b"\r\n", deadline).partition(b";")[0].strip()
            try:
                length = int(size, 16)
            except ValueError:
                raise LostError("the answer is damaged") from None
            if length == 0:
                self._until(b"\r\n", deadline)
                return
            yield self._take(length, deadline)
            self._take(2, deadline)

    def _take(self, length: int, deadline: Deadline) -> bytes:
        parts = [self._buffer]
        held = len(self._buffer)
        while held < length:
            part = self._receive(deadline)
            parts.append(part)
            held += len(part)
        data = b"".join(parts)
        self._buffer = data[length:]
        return data[:length]

    def _until(self, mark: bytes, deadline: Deadline) -> bytes:
        while True:
            found, there, rest = self._buffer.partition(mark)
            if there:
                self._buffer = rest
                return found
            if len(self._buffer) > _CHUNK:
                raise LostError("what answers does not speak HTTP")
            self._buffer += self._receive(deadline)

    def _receive(self, deadline: Deadline) -> bytes:
        try:
            self.socket.settimeout(_seconds(deadline))
            part = self.socket.recv(_CHUNK)
        except TimeoutError:
            raise DeadlineExceededError from None
        except (OSError, ValueError) as error:
            raise LostError(str(error)) from None
        if not part:
            raise LostError("the connection was closed")
        return part

    def close(self) -> None:
        """End the connection."""
        self.socket.close()


def _seconds(deadline: Deadline) -> float | None:
    """Return the seconds that are left, as a socket takes them: none where there is no end in sight."""
    left = deadline.remaining()
    return left if left < threading.TIMEOUT_MAX else None
