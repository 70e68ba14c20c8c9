"""Whether a write has to outlive a loss of power by itself: of a rotation's steps, not all have to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["lasting_with_a_later_write", "lasts_with_a_later_write"]

_later = ContextVar("strongroom_lasts_with_a_later_write", default=False)


@contextmanager
def lasting_with_a_later_write() -> Iterator[None]:
    """Let providers leave it to a later write of the same store to make those of the block last."""
    token = _later.set(True)
    try:
        yield
    finally:
        _later.reset(token)


def lasts_with_a_later_write() -> bool:
    """Tell a provider whether a write may be undone by a loss of power until the next other write is done.

    Then it need not wait for the disk. All processes must see it at once all the same, and no later write may
    outlive it.
    """
    return _later.get()
