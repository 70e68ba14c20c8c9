"""What a cache shared by processes must offer: the protocol of the second level.

A store holds bytes under names and knows nothing of secrets: names are keyed hashes, data is encrypted before
it gets here. A name is `<namespace>:<hash>`; the namespace belongs to one pipeline, or one tenant of it.

Three protocols are optional. A `FencedStore` refuses data whose fetch began before an invalidation. A
`WatchableStore` reports invalidations by other processes and hosts. A `TimedStore` knows how long data is
still kept, so that the age of an entry does not depend on the clock of the host that wrote it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol, runtime_checkable

from strongroom.providers import Closeable

__all__ = ["CacheStore", "FencedStore", "Subscription", "TimedStore", "WatchableStore"]


@runtime_checkable
class CacheStore(Protocol):
    """A second level of a cache. Every method may raise `BackendUnavailableError`, which caches tolerate."""

    def get(self, name: str) -> bytes | None:
        """Return the data under `name`, or None where there is none or its time is over."""

    def set(self, name: str, data: bytes, ttl_seconds: float) -> None:
        """Keep `data` under `name` for `ttl_seconds`, instead of what is there."""

    def delete(self, name: str) -> None:
        """Drop `name`, and let every subscriber know; a name that is not there is dropped as well."""

    def clear(self, namespace: str) -> None:
        """Drop every name that begins with `namespace`, and let every subscriber know; "" means all."""

    def lock(self, name: str, *, ttl_seconds: float, wait_seconds: float) -> AbstractContextManager[int]:
        """Return a lock on `name` that gives a fencing token as it is entered.

        A token is greater than every token that `name` had before. The lock of a holder that died ends after
        `ttl_seconds`; a holder that comes back later does not release the lock of another. A forked
        child that leaves a block of its parent's leaves the lock to the parent.

        Raises:
            ConflictError: After `wait_seconds` another still holds the lock.
        """


@runtime_checkable
class FencedStore(Protocol):
    """A store that refuses what is out of date."""

    def set_fenced(self, name: str, data: bytes, ttl_seconds: float, token: int) -> bool:
        """Keep `data` unless `name` was dropped, cleared or locked again since its lock gave `token`.

        Returns:
            Whether it is kept.
        """


@runtime_checkable
class TimedStore(Protocol):
    """A store whose clock is the same for all hosts, and which says for how long data is still kept."""

    def get_with_life(self, name: str) -> tuple[bytes, float] | None:
        """Return the data under `name` and for how many seconds at most it is still kept, or None."""


class Subscription(Closeable, Protocol):
    """Ends at `close()`, and tells whether it works.

    One that does not tell is taken for alive while the store answers.
    """

    @property
    def alive(self) -> bool:
        """Whether invalidations of others arrive at present."""


@runtime_checkable
class WatchableStore(Protocol):
    """A store that reports what others drop."""

    def subscribe(self, callback: Callable[[str | None], object]) -> Closeable:
        """Call `callback` with each name that somebody dropped, from a thread of the store's own.

        It is called with None if any name may have been dropped: after `clear`, and when the channel is lost
        and when it is back. A channel that is silent for a second counts as lost; a `Subscription` says so.
        """
