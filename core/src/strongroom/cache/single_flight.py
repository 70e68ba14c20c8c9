"""Single flight: one fetch for all callers that ask for a key at the same time."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from contextvars import ContextVar

from strongroom.errors import ConfigurationError, show_key
from strongroom.hooks import Source
from strongroom.hooks.observation import observation
from strongroom.runtime.frozen import frozen

__all__ = [
    "FetchResult",
    "Flight",
    "NonBlockingRead",
    "UnansweredError",
    "WouldBlock",
    "begin_fetch",
    "non_blocking_read",
    "refuse_own",
]


@frozen
class FetchResult:
    """The result of a fetch.

    Attributes:
        value: The value.
        source: Where it came from.
        max_age: Seconds that it may be kept at most, None for no bound of its own. Negative for a `stale`
            value, which expired that long ago.
        version: The version that a description showed before it was fetched, None if there was none.
    """

    value: str
    source: Source = "backend"
    max_age: float | None = None
    version: str | None = None

    def __repr__(self) -> str:
        return f"<FetchResult from {self.source}>"


class Future:
    """The outcome of a fetch, once it has ended. `concurrent.futures` has more, and takes long to import.

    A caller cannot cancel it: the others wait for it, too.
    """

    __slots__ = ("_callbacks", "_ended", "_error", "_lock", "_result")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ended = threading.Lock()
        self._ended.acquire()
        self._callbacks: list[Callable[[], object]] | None = []
        self._result: FetchResult | None = None
        self._error: BaseException | None = None

    def done(self) -> bool:
        """Return whether it has ended."""
        return self._callbacks is None

    def set_result(self, result: FetchResult) -> None:
        """End with a result."""
        self._result = result
        self._end()

    def set_exception(self, error: BaseException) -> None:
        """End with an error."""
        self._error = error
        self._end()

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait for the end, and return the error that it brought, if any.

        Raises:
            TimeoutError: It has not ended within `timeout` seconds.
        """
        if self._callbacks is not None:
            patience = -1 if timeout is None else min(max(timeout, 0), threading.TIMEOUT_MAX)
            try:
                if not self._ended.acquire(timeout=patience):
                    raise TimeoutError
            finally:
                if self._callbacks is None:
                    self._open()
        return self._error

    def result(self) -> FetchResult:
        """Return the result of a fetch that has ended with one."""
        assert self._result is not None  # noqa: S101  # its callers have asked for an error before
        return self._result

    def add_done_callback(self, callback: Callable[[], object]) -> None:
        """Call `callback` at the end, or at once if it has ended already."""
        with self._lock:
            if self._callbacks is not None:
                self._callbacks.append(callback)
                return
        callback()

    def _open(self) -> None:
        """Let those who wait pass, one after the other; a second call, after an interrupt, is harmless."""
        with contextlib.suppress(RuntimeError):
            self._ended.release()

    def _end(self) -> None:
        with self._lock:
            callbacks, self._callbacks = self._callbacks, None
        self._open()
        for callback in callbacks or ():
            callback()


class Flight:
    """A fetch in progress. A caller that waits for it and gives up does not end it.

    Attributes:
        owner: The cache that it is for.
        tenant: The tenant that it is for, if any.
        key: The key that is fetched.
        started: When it began, by the cache's clock.
        kept: Whether its result may be remembered: not after an invalidation.
        version: The version that a description had shown before it began.
        launcher: The thread that is about to begin it; 0 as soon as that is done.
    """

    __slots__ = ("future", "kept", "key", "launcher", "owner", "started", "tenant", "version")

    def __init__(self, owner: object, tenant: str | None, key: str, started: float) -> None:
        self.owner, self.tenant, self.key, self.started = owner, tenant, key, started
        self.future = Future()
        self.kept = True
        self.version: str | None = None
        self.launcher = threading.get_ident()

    async def settled(self) -> None:
        """Wait until it has ended. Cancelling this does not affect the flight."""
        import asyncio

        loop = asyncio.get_running_loop()
        ended = asyncio.Event()

        def wake() -> None:
            with contextlib.suppress(RuntimeError):  # the loop of a caller that gave up may be closed
                loop.call_soon_threadsafe(ended.set)

        self.future.add_done_callback(wake)
        await ended.wait()


class UnansweredError(Exception):
    """Nothing is known of the key: the batch failed for another one, or the fetch has not begun.

    Attributes:
        error: What the batch raised.
        named: Whether that names a key of the batch; then the other keys are asked for again.
    """

    def __init__(self, error: BaseException, *, named: bool) -> None:
        super().__init__()
        self.error = error
        self.named = named


class WouldBlock(BaseException):  # not an error: no `except Exception` on the way may catch it
    """A read would have to wait for `flight`, up to `timeout`; raised within a `NonBlockingRead` only."""

    def __init__(self, flight: Flight, timeout: float | None) -> None:
        super().__init__()
        self.flight = flight
        self.timeout = timeout


class NonBlockingRead:
    """A read by a caller that must not wait: an event loop.

    While one is set, a cache raises `WouldBlock` where it would wait for a flight. The caller awaits that
    flight, and reads again with it in `waited_for`: the cache goes on from there, however the flight ended.
    """

    __slots__ = ("waited_for",)

    def __init__(self, waited_for: Sequence[Flight] = ()) -> None:
        self.waited_for = waited_for

    def flight_of(self, owner: object, tenant: str | None, key: str) -> Flight | None:
        """Return the flight for a key that was waited for last, if there is one."""
        for flight in reversed(self.waited_for):
            if flight.owner is owner and flight.tenant == tenant and flight.key == key:
                return flight
        return None


non_blocking_read: ContextVar[NonBlockingRead | None] = ContextVar("strongroom_turn", default=None)
_within: ContextVar[tuple[Flight, ...]] = ContextVar("strongroom_within", default=())
"""The fetches that the code at hand is a part of: it would wait for itself."""


def begin_fetch(*flights: Flight) -> None:
    """Prepare the context of a thread that fetches."""
    non_blocking_read.set(None)  # it may wait
    observation.set(None)  # callers that wait report the source; others have their value from elsewhere
    _within.set((*_within.get(), *flights))


def refuse_own(flight: Flight) -> None:
    """Raise `ConfigurationError` if the code at hand is a part of `flight`, and would wait for itself."""
    if flight in _within.get():
        raise ConfigurationError(
            f"reading {show_key(flight.key)} leads back to itself: its fetch asks the same cache for it",
            key=flight.key,
            hint="let the provider read what it wraps, past the registry or cache in which it is",
        )
