"""What the caller of a provider can do without: a durable write, or the details of a description."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = [
    "deferring_durability",
    "describing_versions_alone",
    "may_defer_durability",
    "version_is_enough",
]

_deferred = ContextVar("strongroom_durability_deferred", default=False)
_alone = ContextVar("strongroom_version_is_enough", default=False)


@contextmanager
def _during(hint: ContextVar[bool]) -> Iterator[None]:
    token = hint.set(True)
    try:
        yield
    finally:
        hint.reset(token)


@contextmanager
def deferring_durability() -> Iterator[None]:
    """Let a later write of the same store make the writes of the block durable."""
    with _during(_deferred):
        yield


def may_defer_durability() -> bool:
    """Tell a provider whether a loss of power may undo a write until the store's next write is durable.

    The provider need not wait for the disk then. All processes must see the write at once all the same, and
    no later write may survive it.
    """
    return _deferred.get()


@contextmanager
def describing_versions_alone() -> Iterator[None]:
    """Let providers leave out what takes a further request, for the block and the threads that it starts."""
    with _during(_alone):
        yield


def version_is_enough() -> bool:
    """Tell a provider's `describe_secret` whether its caller uses only `version` of what it returns.

    Of a provider that `counts_again` it uses `updated_at`, too. What else takes a request of its own may be
    left out.
    """
    return _alone.get()
