"""Accepts connections with TLS, so that those in a handshake are counted, and end in time.

asyncio's own server does not tell its protocol of a connection before the handshake is over. Strangers who
connect and send nothing could take all of the process's descriptors.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final

__all__ = ["Handshakes"]

_SECONDS: Final = 10.0
"""How long a handshake may take."""
_GOODBYE_SECONDS: Final = 2.0
"""How long a client may take to answer the end of TLS; many never do."""
_PAUSE_SECONDS: Final = 0.1


class Handshakes:
    """The connections at one listener that are not yet a protocol's.

    Args:
        listening: The listening socket.
        tls: The certificate.
        protocol: Makes the protocol of a connection whose handshake is over.
        make_room: Returns whether there may be one more connection.
    """

    def __init__(
        self,
        listening: socket.socket,
        tls: ssl.SSLContext,
        protocol: Callable[[], asyncio.BaseProtocol],
        make_room: Callable[[], bool],
    ) -> None:
        self._listening, self._tls = listening, tls
        self._protocol, self._make_room = protocol, make_room
        self._loop = asyncio.get_running_loop()
        self._under_way: dict[asyncio.Task[None], None] = {}
        self._accepting = self._loop.create_task(self._accept())
        self._accepting.add_done_callback(lambda _: listening.close())  # the loop asks it for nothing more

    def __len__(self) -> int:
        return len(self._under_way)

    def close(self) -> None:
        """Accept nothing more, also into the system's queue, and end the handshakes."""
        self._accepting.cancel()
        while self.end_oldest():
            pass

    def end_oldest(self) -> bool:
        """End the handshake that has taken longest; return whether there was one."""
        task = next(iter(self._under_way), None)
        if task is None:
            return False
        del self._under_way[task]
        task.cancel()
        return True

    async def _accept(self) -> None:
        while True:
            try:
                sock, _ = await self._loop.sock_accept(self._listening)
            except OSError:  # its client has gone already; or no descriptor is free
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            if self._make_room():
                task = self._loop.create_task(self._shake_hands(sock))
                self._under_way[task] = None
                task.add_done_callback(partial(self._note_end, sock))
            else:
                sock.close()

    def _note_end(self, sock: socket.socket, task: asyncio.Task[None]) -> None:
        self._under_way.pop(task, None)
        if task.cancelled():  # perhaps before it began, and so before the socket had a transport
            sock.close()

    async def _shake_hands(self, sock: socket.socket) -> None:
        with suppress(OSError):  # a client of any kind: without TLS, without trust, too slow
            await self._loop.connect_accepted_socket(
                self._protocol,
                sock,
                ssl=self._tls,
                ssl_handshake_timeout=_SECONDS,
                ssl_shutdown_timeout=_GOODBYE_SECONDS,
            )
