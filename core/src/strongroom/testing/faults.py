"""A TCP proxy on the loopback address that disturbs connections, for tests of network providers."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Final, Literal, Self

__all__ = ["FaultProxy", "Mode", "damaged", "ends_in_time"]

Mode = Literal["pass", "black_hole", "reset", "drip", "half", "refuse"]
_DRIP_SECONDS: Final = 0.05
PATIENCE_SECONDS: Final = 30.0


class FaultProxy:
    """Passes on to `target`, a port of 127.0.0.1, and does what `mode` says from then on.

    Attributes:
        port: Where it listens on 127.0.0.1.
        mode: `pass`; `black_hole` accepts everything and never answers; `reset` answers with RST, on an open
            connection at the next byte; `drip` passes the answer one byte each 50 ms; `half` ends after half
            of an answer; `refuse` closes each new connection at once.
        latency: Seconds that each piece of an answer waits, in mode `pass`.
        cut_after: In mode `pass`, so many bytes of requests and answers together still pass; the next byte
            resets its connection, in both directions, and sets this to None: everything passes again.
        connections: How many connections have been opened so far.
        resets: How many connections that passed something before were reset so far.
        round_trips: How many times a client has begun to speak so far, first or after an answer, on all
            connections together.
    """

    def __init__(self, target: int, *, latency: float = 0.0) -> None:
        self.mode: Mode = "pass"
        self.latency = latency
        self.cut_after: int | None = None
        self.connections = 0
        self.resets = 0
        self.round_trips = 0
        self._target = target
        self._silent = 0
        """Connections up to this number pass nothing any more."""
        self._stop = threading.Event()
        self._open: list[socket.socket] = []
        self._keeping = threading.Lock()
        self._one_more_reset = threading.Condition(self._keeping)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """End all connections and stop listening."""
        with self._keeping:
            self._stop.set()
        for held in [self._listener, *self._open]:
            with contextlib.suppress(OSError):
                held.shutdown(socket.SHUT_RDWR)
            held.close()

    def silence(self) -> None:
        """Let nothing pass any more on the connections that are open now, as after a firewall's restart.

        They stay open, and new ones work.
        """
        self._silent = self.connections

    def wait_for_reset(self, before: int, *, seconds: float = 4 * PATIENCE_SECONDS) -> None:
        """Wait until more than `before` connections have been reset.

        The next byte of an open connection may come long after `mode` was set. A test that sets `pass` again
        waits here first, or the byte passes.

        Raises:
            AssertionError: None was reset within so many seconds.
        """
        with self._one_more_reset:
            if not self._one_more_reset.wait_for(lambda: self.resets > before, seconds):
                message = f"no connection was reset within {seconds:g} s"
                raise AssertionError(message)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _accept(self) -> None:
        while not self._stop.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            if not self._keep(client):
                return
            if self.mode == "reset":
                _reset(client)
            elif self.mode == "refuse":
                client.close()
            elif self.mode != "black_hole":
                self._join(client, self.connections)

    def _keep(self, opened: socket.socket) -> bool:
        """Let `close` end this connection too; one that was opened while it did is closed here."""
        with self._keeping:
            if not self._stop.is_set():
                self._open.append(opened)
                return True
        opened.close()
        return False

    def _join(self, client: socket.socket, number: int) -> None:
        try:
            upstream = socket.create_connection(("127.0.0.1", self._target))
        except OSError:
            client.close()
            return
        if not self._keep(upstream):
            return
        try:
            for held in (client, upstream):
                held.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:  # closed in the meantime, by `close` or by the caller
            upstream.close()
            return
        spoken = threading.Event()  # by the client, since the last answer
        for source, sink, back in ((client, upstream, False), (upstream, client, True)):
            threading.Thread(
                target=self._pump, args=(source, sink, back, spoken, number), daemon=True
            ).start()

    def _pump(
        self, source: socket.socket, sink: socket.socket, back: bool, spoken: threading.Event, number: int
    ) -> None:
        with contextlib.suppress(OSError):  # either side may go away at any time: that is what it is for
            self._pass_on(source, sink, back, spoken, number)
        with contextlib.suppress(OSError):  # the other side hears of a reset too
            sink.shutdown(socket.SHUT_RDWR)

    def _pass_on(
        self, source: socket.socket, sink: socket.socket, back: bool, spoken: threading.Event, number: int
    ) -> None:
        while data := source.recv(65_536):
            self._count(back, spoken)
            mode = self.mode
            if mode == "black_hole" or number <= self._silent:
                continue
            if mode == "reset":
                self._reset_both(source, sink)
                return
            if back and mode == "half":
                sink.sendall(data[: len(data) // 2])
                return
            if back and mode == "drip":
                if not self._drip(sink, data):
                    return
                continue
            if back and self.latency and self._stop.wait(self.latency):
                return
            passed = self._passed(len(data))
            sink.sendall(data[:passed])
            if passed < len(data):
                self._reset_both(source, sink)
                return

    def _reset_both(self, source: socket.socket, sink: socket.socket) -> None:
        _reset(source)
        _reset(sink)
        with self._one_more_reset:
            self.resets += 1
            self._one_more_reset.notify_all()

    def _count(self, back: bool, spoken: threading.Event) -> None:
        if back:
            spoken.clear()
        elif not spoken.is_set():
            spoken.set()
            with self._keeping:
                self.round_trips += 1

    def _passed(self, length: int) -> int:
        """Return how many of so many bytes pass, of those that `cut_after` leaves."""
        with self._keeping:
            left = self.cut_after
            if left is None:
                return length
            self.cut_after = None if left < length else left - length
            return min(left, length)

    def _drip(self, sink: socket.socket, data: bytes) -> bool:
        for at in range(len(data)):
            if self._stop.wait(_DRIP_SECONDS):
                return False
            sink.sendall(data[at : at + 1])
        return True


def ends_in_time(
    operation: Callable[[], object],
    expected: type[Exception],
    seconds: float,
    *,
    slack: float = PATIENCE_SECONDS,
) -> Exception:
    """Return the `expected` error that `operation` raises within `seconds` and `slack`.

    The slack is a watchdog, long enough for a busy machine: it catches a call that waits for an answer that
    never comes, but not a machine that stalls for a while.

    Raises:
        AssertionError: It raised nothing, or was late.
    """
    started = time.monotonic()
    try:
        operation()
    except expected as error:
        took = time.monotonic() - started
        if took >= seconds + slack:
            message = f"took {took:.2f} s, where {seconds:g} s are given"
            raise AssertionError(message) from error
        return error
    message = f"no {expected.__name__} was raised"
    raise AssertionError(message)


def _reset(held: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it may be closed already
        # Closing with a linger of 0 sends RST instead of FIN.
        held.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # A thread that waits to receive would keep the connection open: this wakes it.
        held.shutdown(socket.SHUT_RD)
    held.close()


_OTHERS: Final[tuple[object, ...]] = (5, "x", True, None, [], {}, [None], [[]], {"x": {"x": []}})


def damaged(answer: object) -> Iterator[tuple[str, object]]:
    """Yield copies of a JSON answer, each with one part missing or of a wrong type, and that part's name.

    A service never answers like that, but something in its place may: the provider must then return a result,
    or raise one of strongroom's errors.
    """
    yield from (("", other) for other in _OTHERS)
    if isinstance(answer, dict | list):
        for name, part in list(answer.items() if isinstance(answer, dict) else enumerate(answer)):
            without = answer.copy()
            del without[name]
            yield f"/{name} gone", without
            for where, other in damaged(part):
                with_other = answer.copy()
                with_other[name] = other
                yield f"/{name}{where}", with_other
