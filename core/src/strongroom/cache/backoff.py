"""What a cache knows of a backend that does not answer."""

from __future__ import annotations

from typing import Final

from strongroom.cache.single_flight import Flight
from strongroom.errors import BackendUnavailableError, ThrottledError

__all__ = ["Backoff"]

_SHARE: Final = 10
_LONGEST: Final = 60.0
_THROTTLED: Final = 1.0


class Backoff:
    """Lets one caller at a time find out whether the backend is back; the others need not wait for it.

    After a failure nobody tries again for ten times as long as the failure took, a minute at most. So callers
    spend at most a tenth of the time waiting for a backend that hangs, and one that refuses at once is asked
    again at once. One that throttles is left alone for as long as it asked: a second at least, a minute at
    most.
    """

    def __init__(self) -> None:
        self._down = False
        self._until = 0.0
        self._probe: Flight | None = None

    def should_serve_stale(self, now: float, *, asked: bool) -> bool:
        """Return whether a caller with a stale value should use it; `asked`: another one is asking."""
        if not self._down:
            return False
        return asked or now < self._until or (self._probe is not None and not self._probe.future.done())

    def begin_probe(self, flight: Flight) -> None:
        """Take note of the fetch that finds out."""
        self._probe = flight

    def end_probe(self, flight: Flight) -> None:
        """Take note that nobody waits for this fetch any more: it may never end."""
        if self._probe is flight:
            self._probe = None

    def record_failure(self, now: float, took: float, error: BackendUnavailableError | None = None) -> None:
        """Take note of a failure at `now` that took `took` seconds."""
        pause = min(took * _SHARE, _LONGEST)
        if isinstance(error, ThrottledError):
            pause = max(pause, min(error.retry_after or 0, _LONGEST), _THROTTLED)
        self._down = True
        self._until = now + pause

    def record_success(self) -> None:
        """Take note of an answer."""
        self._down = False
        self._probe = None
