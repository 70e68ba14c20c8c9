"""A second level in the memory of this process: for tests, and for caches of one process that share it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from strongroom.cache.store import Subscription
from strongroom.errors import ConflictError
from strongroom.parallel import Condition, Take, renew_after_fork

__all__ = ["MemoryCacheStore"]

_SWEEP_AT: Final = 1024


class MemoryCacheStore:
    """A `CacheStore` in memory, fenced, timed and watchable. In a forked child it is empty.

    Args:
        clock: Seconds.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._begin_again()
        self._data: dict[str, tuple[bytes, float]] = {}
        self._fences: dict[str, int] = {}
        self._last_fence = 0
        self._sweep_at = _SWEEP_AT
        self._subscribers: list[_Subscriber] = []
        renew_after_fork(self, MemoryCacheStore._after_fork, rest=MemoryCacheStore._rest)

    def _after_fork(self) -> None:
        """Give a forked child an empty store: it does not learn what its parent drops."""
        self._begin_again()
        self._data.clear()
        self._fences.clear()

    def _begin_again(self) -> None:
        self._changed = Condition()
        self._held: dict[str, tuple[int, float]] = {}  # a thread that is gone gives nothing back

    def _rest(self, take: Take) -> None:
        take(self._changed)

    def get(self, name: str) -> bytes | None:
        """Return the data under `name`, or None."""
        with self._changed:
            found = self._data.get(name)
            if found is None:
                return None
            data, expires = found
            if self._clock() >= expires:
                del self._data[name]
                return None
            return data

    def get_with_life(self, name: str) -> tuple[bytes, float] | None:
        """Return the data under `name` and for how many seconds it is still kept, or None."""
        with self._changed:
            _, expires = self._data.get(name, (b"", 0.0))  # read before the data, which may only be newer
        data = self.get(name)
        return None if data is None else (data, expires - self._clock())

    def set(self, name: str, data: bytes, ttl_seconds: float) -> None:
        """Keep `data` for `ttl_seconds`."""
        with self._changed:
            self._put(name, data, ttl_seconds)

    def set_fenced(self, name: str, data: bytes, ttl_seconds: float, token: int) -> bool:
        """Keep `data` unless `name` was dropped or locked since its lock gave `token`."""
        with self._changed:
            if self._fences.get(name) != token:
                return False
            self._put(name, data, ttl_seconds)
            return True

    def delete(self, name: str) -> None:
        """Drop `name`."""
        with self._changed:
            self._data.pop(name, None)
            self._fences.pop(name, None)
        self._notify(name)

    def clear(self, namespace: str) -> None:
        """Drop every name that begins with `namespace`."""
        with self._changed:
            for table in (self._data, self._fences):
                for name in [name for name in table if name.startswith(namespace)]:
                    del table[name]
        self._notify(None)

    @contextmanager
    def lock(self, name: str, *, ttl_seconds: float, wait_seconds: float) -> Iterator[int]:
        """Hold `name` for the block, `ttl_seconds` at most.

        Raises:
            ConflictError: Another holder did not leave within `wait_seconds`.
        """
        token = _Token()
        try:
            self._acquire(name, token, ttl_seconds, wait_seconds)
            yield token.number
        finally:  # also after an interrupt just as it was acquired
            with self._changed:
                # Without a call before it is given back, in which another interrupt could come.
                if name in self._held and self._held[name][0] == token.number:
                    del self._held[name]
                if self._fences.get(name) == token.number:
                    del self._fences[name]
                self._changed.notify_all()

    def subscribe(self, callback: Callable[[str | None], object]) -> Subscription:
        """Call `callback` with each name that is dropped, from the thread that drops it."""
        subscriber = _Subscriber(self._subscribers, callback)
        self._subscribers.append(subscriber)
        return subscriber

    def __repr__(self) -> str:
        return f"<MemoryCacheStore with {len(self._data)} entries>"

    def _put(self, name: str, data: bytes, ttl_seconds: float) -> None:
        now = self._clock()
        if ttl_seconds > 0:
            self._data[name] = (data, now + ttl_seconds)
        if len(self._data) >= self._sweep_at:
            for old in [old for old, (_, expires) in self._data.items() if now >= expires]:
                del self._data[old]
            self._sweep_at = max(_SWEEP_AT, 2 * len(self._data))

    def _acquire(self, name: str, token: _Token, ttl_seconds: float, wait_seconds: float) -> None:
        end = time.monotonic() + wait_seconds
        with self._changed:
            while True:
                now = self._clock()
                holder = self._held.get(name)
                if holder is None or now >= holder[1]:
                    self._last_fence = token.number = self._last_fence + 1
                    self._fences[name] = token.number
                    self._held[name] = (token.number, now + ttl_seconds)
                    return
                left = end - time.monotonic()
                if left <= 0:
                    raise ConflictError("the lock is held by another")
                self._changed.wait(min(left, max(holder[1] - now, 0.001)))

    def _notify(self, name: str | None) -> None:
        for subscriber in list(self._subscribers):
            subscriber.callback(name)


class _Token:
    """A fencing token; 0 until the lock is acquired."""

    number = 0


class _Subscriber:
    def __init__(self, among: list[_Subscriber], callback: Callable[[str | None], object]) -> None:
        self._among = among
        self.callback = callback

    @property
    def alive(self) -> bool:
        return self in self._among

    def close(self) -> None:
        if self in self._among:
            self._among.remove(self)
