"""Why a process uses secrets: the reason that its audit lines give."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from strongroom.runtime.scopes import OpenBlocks

__all__ = ["because", "current_reason"]

_reasons: OpenBlocks[str] = OpenBlocks("strongroom_reason")
_open_reasons = _reasons.open.get


@contextmanager
def because(reason: str) -> Iterator[None]:
    """Let the audit lines of everything done in the block say `reason`, such as the number of a ticket."""
    block = _reasons.enter(reason)
    try:
        yield
    finally:
        _reasons.leave(block)


def current_reason() -> str | None:
    """Return the reason of the innermost open block, or None."""
    try:  # `_reasons.innermost()`, written out: every line asks
        return _open_reasons()[0].value
    except AttributeError:
        return _reasons.after_ends_elsewhere()
