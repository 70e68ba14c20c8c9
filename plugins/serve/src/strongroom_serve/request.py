"""A request: its path, decoded once, its query, headers and body."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, Final
from urllib.parse import parse_qsl, unquote_to_bytes

from strongroom_serve.answers import Answer, bad_request, errors

__all__ = ["MAX_BODY_BYTES", "Body", "Refused", "Request"]

MAX_BODY_BYTES: Final = 2 << 20
_MOST_DRAINED_BYTES: Final = 4 * MAX_BODY_BYTES
_DRAIN_SECONDS: Final = 5.0
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_MOST_PARAMETERS = 32


class Refused(Exception):  # noqa: N818  # it carries an answer, whatever that is
    """The request is refused with an answer."""

    def __init__(self, answer: Answer, reason: str) -> None:
        super().__init__(reason)
        self.answer = answer
        self.reason = reason


class Body:
    """The body of a request, as ASGI receives it, which knows whether it was read to its end."""

    __slots__ = ("_receive", "_waits", "ended")

    def __init__(self, scope: Mapping[str, Any], receive: Callable[[], Awaitable[Any]]) -> None:
        names = {name for name, _ in scope["headers"]}
        self._receive = receive
        self._waits = b"expect" in names
        self.ended = names.isdisjoint({b"content-length", b"transfer-encoding"})

    async def __call__(self) -> dict[str, Any]:
        """Return the next message."""
        message: dict[str, Any] = await self._receive()
        self.ended = message["type"] == "http.disconnect" or not message.get("more_body")
        return message

    async def drain(self) -> None:
        """Read the rest, 8 MiB and 5 s at most, so that a client that still sends gets the answer.

        A client that waits for `100 Continue` does not get it.
        """
        left = _MOST_DRAINED_BYTES
        with suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_SECONDS):
                while not self.ended and left > 0 and not self._waits:
                    left -= len((await self()).get("body", b""))


class Request:
    """One request.

    Attributes:
        method: As it was sent.
        path: The decoded path.
        peer: The name under which its sender is counted.
        uid: The user at the other end of a Unix socket; None on TCP.
        is_tcp: Whether it came over TCP.
        secure: Whether it came through TLS.
        sent: All its bytes, if they may identify it when it comes again; else None.
        problem: Why its path cannot be read, which is then empty; empty if it can.
        note_client: Called once it is known to be of a client: its connection does not end for another one.
    """

    __slots__ = (
        "_headers",
        "_query",
        "_receive",
        "is_tcp",
        "method",
        "note_client",
        "path",
        "peer",
        "problem",
        "secure",
        "sent",
        "uid",
    )

    def __init__(self, scope: Mapping[str, Any], receive: Callable[[], Awaitable[Any]]) -> None:
        self.method: str = scope["method"]
        self._headers: list[tuple[bytes, bytes]] = scope["headers"]
        self._query: bytes = scope["query_string"]
        self._receive = receive
        self.secure = scope["scheme"] == "https"
        self.is_tcp, self.uid, self.peer = scope["strongroom.peer"]
        self.sent: tuple[bool, int | None, bytes] | None = scope["strongroom.sent"]
        self.path, self.problem = _decoded(scope["raw_path"])
        self.note_client: Callable[[], object] = scope["strongroom.known"]

    def header(self, name: bytes) -> bytes | None:
        """Return a header's value; None if it was not sent.

        Raises:
            Refused: It was sent twice, and it is unclear which of the two counts.
        """
        found = [value for key, value in self._headers if key == name]
        if len(found) > 1:
            raise Refused(bad_request(f"the header {name.decode()} was sent twice"), "header")
        return found[0] if found else None

    def query(self) -> dict[str, str]:
        """Return the parameters of the query.

        Raises:
            Refused: One occurs twice, or they are not text.
        """
        if not self._query:
            return {}
        try:
            pairs = parse_qsl(
                self._query.decode("ascii"),
                keep_blank_values=True,
                max_num_fields=_MOST_PARAMETERS,
                errors="strict",
            )
        except ValueError:
            raise Refused(bad_request("the query cannot be read"), "query") from None
        found = dict(pairs)
        if len(found) != len(pairs):
            raise Refused(bad_request("a parameter of the query occurs twice"), "query")
        return found

    async def body(self, most: int = MAX_BODY_BYTES) -> bytes:
        """Return the whole body.

        Args:
            most: How large it may be, in bytes.

        Raises:
            Refused: It is larger, or ends early.
        """
        length = self.header(b"content-length")
        if length is not None and length.isdigit() and int(length) > most:
            raise _too_large(most)
        parts: list[bytes] = []
        size = 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise Refused(errors(400, "the body ended early"), "body")
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > most:
                raise _too_large(most)
            if not message.get("more_body"):
                return b"".join(parts)

    async def json(self) -> Any:
        """Return the body as JSON.

        Raises:
            Refused: It is not JSON in UTF-8.
        """
        data = await self.body()
        try:
            return json.loads(data.decode())
        except (ValueError, RecursionError):
            # Raised outside the block: the original holds the body.
            pass
        raise Refused(bad_request("the body is not JSON in UTF-8"), "body")


def _too_large(most: int) -> Refused:
    shown = f"{most >> 20} MiB" if most >= 1 << 20 else f"{most >> 10} KiB"
    return Refused(errors(413, f"the body is larger than {shown}"), "size")


def _decoded(raw: bytes) -> tuple[str, str]:
    """Return a path with its escapes undone, once; else an empty one, and why it cannot be read."""
    if not raw.startswith(b"/") or _BAD_ESCAPE.search(raw):
        return "", "the path cannot be read"
    try:
        return unquote_to_bytes(raw).decode() if b"%" in raw else raw.decode(), ""
    except UnicodeDecodeError:
        return "", "the path is not UTF-8"
