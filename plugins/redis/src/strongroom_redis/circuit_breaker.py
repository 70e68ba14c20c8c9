"""A circuit breaker: makes no calls to a server that fails, and finds out when it is back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from strongroom.errors import BackendUnavailableError

__all__ = ["CircuitBreaker"]

_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 2.0


class CircuitBreaker:
    """Refuses calls for a moment after a failure; then one call finds out whether the server is back.

    The moment doubles up to two seconds while it is not. Calls that were under way at the first failure fail
    with it and do not count again.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.RLock()  # a signal handler may call in the middle of it
        self._probing = False
        self._pause = 0.0
        self._closed_until = float("-inf")

    @contextmanager
    def attempt(self) -> Iterator[bool]:
        """Yield whether the block may call the server, and note whether it failed."""
        with self._lock:
            closed = bool(self._pause) and (self._probing or self._clock() < self._closed_until)
            probe = bool(self._pause) and not closed
            self._probing = self._probing or probe
        if closed:
            yield False
            return
        failed = False
        try:
            yield True
        except BackendUnavailableError:
            failed = True
            raise
        finally:
            # Any other error, such as a refusal, is an answer of the server.
            with self._lock:
                if probe:
                    self._probing = False
                if not failed:
                    self._pause = 0.0
                elif probe or not self._pause:
                    self._pause = min(max(2 * self._pause, _FIRST_PAUSE), _LONGEST_PAUSE)
                    self._closed_until = self._clock() + self._pause
