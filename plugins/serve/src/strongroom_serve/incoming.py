"""The body of a request, from the parser to the application."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final

__all__ = ["Incoming"]

_BODY_SECONDS: Final = 60
"""How long a part of a body may take."""


class Incoming:
    """The body of a request, as it comes in.

    Args:
        write: Sends bytes to the client.
        read_on: Is called as the application has read a part.

    Attributes:
        is_whole: Whether all of it has come.
        is_lost: Whether the rest does not come any more.
        held: The bytes that came, and were not read yet.
        waiter: What the application waits for, if it does.
        expects: Whether the client waits for `100 Continue` before it sends.
    """

    __slots__ = (
        "_is_read",
        "_pieces",
        "_read_on",
        "_write",
        "expects",
        "held",
        "is_lost",
        "is_whole",
        "waiter",
    )

    def __init__(self, write: Callable[[bytes], None], read_on: Callable[[], None]) -> None:
        self._write, self._read_on = write, read_on
        self._pieces: deque[bytes] = deque()
        self._is_read = self.is_whole = self.is_lost = self.expects = False
        self.held = 0
        self.waiter: asyncio.Future[None] | None = None

    def add(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self.held += len(piece)
        self.expects = False
        self._wake()

    def end(self) -> None:
        self.is_whole = True
        self._wake()

    def lose(self) -> None:
        self.is_lost = True
        self._wake()

    def _wake(self) -> None:
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)

    async def receive(self) -> dict[str, Any]:
        """Return the next message (ASGI)."""
        if self._is_read and not self.is_lost:
            await self._woken(None)  # nothing comes any more but the end of the connection
        elif not (self._pieces or self.is_whole or self.is_lost):
            if self.expects:
                self.expects = False
                self._write(b"HTTP/1.1 100 Continue\r\n\r\n")
            await self._woken(_BODY_SECONDS)
        if self.is_lost:
            return {"type": "http.disconnect"}
        piece = self._pieces.popleft() if self._pieces else b""
        self.held -= len(piece)
        self._read_on()
        self._is_read = self.is_whole and not self._pieces
        return {"type": "http.request", "body": piece, "more_body": not self._is_read}

    async def _woken(self, seconds: float | None) -> None:
        self.waiter = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(seconds):
                await self.waiter
        except TimeoutError:
            self.is_lost = True
        finally:
            self.waiter = None
