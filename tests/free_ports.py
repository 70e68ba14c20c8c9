"""Ports of the loopback address for servers that have to be told which one to take."""

from __future__ import annotations

import atexit
import contextlib
import socket
import sys

_kept: list[socket.socket] = []


def free_port(*, successors: int = 0) -> int:
    """Return a port that nobody else is given while this process runs; `successors` more come after it.

    One that was looked up and given back can be taken by anybody, even by a client's connection, before the server
    binds it, or while that is restarted. So it stays bound here: the server can listen on it all the same, as
    servers allow that an address is bound twice (`SO_REUSEADDR`), and who connects before is refused. Only Linux
    has it so.
    """
    while True:
        with contextlib.ExitStack() as opened:
            held = [opened.enter_context(socket.socket()) for _ in range(1 + successors)]
            for one in held:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            held[0].bind(("127.0.0.1", 0))
            port: int = held[0].getsockname()[1]
            # One after it is somebody's, or beyond the last.
            with contextlib.suppress(OSError, OverflowError):
                for number, one in enumerate(held[1:], start=1):
                    _bind_alone(one, port + number)
                if sys.platform == "linux":
                    _kept.extend(held)
                    opened.pop_all()
                return port


def _bind_alone(one: socket.socket, port: int) -> None:
    """Bind a port that nobody has bound, not even as one that may be bound twice."""
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    one.bind(("127.0.0.1", port))
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)


@atexit.register
def _let_go() -> None:
    for one in _kept:
        one.close()
