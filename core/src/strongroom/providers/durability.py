"""Whether a write must be durable by itself: not every step of a rotation has to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["deferring_durability", "may_defer_durability"]

_deferred = ContextVar("strongroom_durability_deferred", default=False)


@contextmanager
def deferring_durability() -> Iterator[None]:
    """Let a later write of the same store make the writes of the block durable."""
    token = _deferred.set(True)
    try:
        yield
    finally:
        _deferred.reset(token)


def may_defer_durability() -> bool:
    """Tell a provider whether a loss of power may undo a write until the store's next write is durable.

    The provider need not wait for the disk then. All processes must see the write at once all the same, and
    no later write may survive it.
    """
    return _deferred.get()
