"""One fetch for all who ask at the same time."""

from __future__ import annotations

import asyncio
import contextlib
from concurrent.futures import Future
from contextvars import ContextVar
from dataclasses import dataclass

from strongroom.hooks import Source

__all__ = ["FetchResult", "Flight", "NonBlockingRead", "UnansweredError", "WouldBlock", "turn"]


@dataclass(frozen=True, slots=True)
class FetchResult:
    """What a fetch brought.

    Attributes:
        value: The value.
        source: Where it came from.
        life: Seconds that it may be kept at most, None for no bound of its own. Negative for a `stale` value:
            so long ago its time was over.
        version: The version that a description showed before it was fetched, None where there was none.
    """

    value: str
    source: Source = "backend"
    life: float | None = None
    version: str | None = None

    def __repr__(self) -> str:
        return f"<FetchResult from {self.source}>"


class Flight:
    """A fetch under way. Whoever waits for it and gives up leaves it as it is.

    Attributes:
        owner: The cache that it is for.
        tenant: For whom,
        key: and what.
        started: When, by the cache's clock.
        kept: Whether what it brings may be remembered: not after an invalidation.
        version: The version that a description had shown before it began.
    """

    __slots__ = ("future", "kept", "key", "owner", "started", "tenant", "version")

    def __init__(self, owner: object, tenant: str | None, key: str, started: float) -> None:
        self.owner, self.tenant, self.key, self.started = owner, tenant, key, started
        self.future: Future[FetchResult] = Future()
        self.future.set_running_or_notify_cancel()  # so that no caller's cancellation reaches the others
        self.kept = True
        self.version: str | None = None

    async def settled(self) -> None:
        """Wait until it has ended, in whatever way. Cancelling this leaves the flight as it is."""
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()

        def tell(_: object) -> None:
            with contextlib.suppress(RuntimeError):  # the loop of a caller that gave up may be closed
                loop.call_soon_threadsafe(ended.set)

        self.future.add_done_callback(tell)
        await ended.wait()


class UnansweredError(Exception):
    """The batch that this flight was a part of failed for another key: nothing is known of this one.

    Attributes:
        error: What the batch raised.
        named: Whether that names a key of the batch, so that asking for the others goes on.
    """

    def __init__(self, error: BaseException, *, named: bool) -> None:
        super().__init__()
        self.error = error
        self.named = named


class WouldBlock(BaseException):  # no error, and nothing on the way may take it for one
    """A read would have to wait for this flight, so long at most; raised within a `NonBlockingRead` only."""

    def __init__(self, flight: Flight, timeout: float | None) -> None:
        super().__init__()
        self.flight = flight
        self.timeout = timeout


class NonBlockingRead:
    """A read by a caller that must not wait: an event loop.

    With a turn set, a cache raises `WouldBlock` where it would wait for a flight. The caller awaits that
    flight, and reads again with it in `waited_for`: the cache goes on from there, whatever came of it.
    """

    __slots__ = ("waited_for",)

    def __init__(self) -> None:
        self.waited_for: list[Flight] = []

    def flight_of(self, owner: object, tenant: str | None, key: str) -> Flight | None:
        """Return the flight for a key that was waited for last, if there is one."""
        for flight in reversed(self.waited_for):
            if flight.owner is owner and flight.tenant == tenant and flight.key == key:
                return flight
        return None


turn: ContextVar[NonBlockingRead | None] = ContextVar("strongroom_turn", default=None)
