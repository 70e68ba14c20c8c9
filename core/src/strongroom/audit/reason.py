"""On whose behalf a process acts: the system's user, the machine, a build service, a coding tool, and why."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from strongroom._scopes import OpenBlocks

__all__ = ["because", "current_reason"]

_reasons: OpenBlocks[str] = OpenBlocks("strongroom_reason")


@contextmanager
def because(reason: str) -> Iterator[None]:
    """Let the audit lines of everything done in the block say `reason`, such as the number of a ticket."""
    block = _reasons.enter(reason)
    try:
        yield
    finally:
        _reasons.leave(block)


def current_reason() -> str | None:
    """Return the reason that the block at hand gives."""
    return _reasons.innermost()
