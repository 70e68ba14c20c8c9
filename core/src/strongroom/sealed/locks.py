"""Holding a lock that a server keeps; the process that acquires it gives it back."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from strongroom.deadlines import Deadline, DeadlineExceededError
from strongroom.errors import StrongroomError
from strongroom.sealed.backend import SealedLock

__all__ = ["held_lock"]

_PAUSES: Final = (0.02, 0.5)
"""Seconds between two requests for a lock that another holds: at first, and at most."""


@contextmanager
def held_lock(lock: SealedLock, *, wait_seconds: float, timeout: float) -> Iterator[int | None]:
    """Hold `lock` for the block, which gets the fencing token, or None if another has it.

    Args:
        lock: The lock, which nobody has asked for yet.
        wait_seconds: Seconds to wait for another to give it back.
        timeout: Seconds for one request.

    Raises:
        DeadlineExceededError: A request for it did not end in time.
    """
    process = os.getpid()
    try:
        yield _acquired(lock, wait_seconds, timeout)
    finally:
        if os.getpid() == process:  # a forked child leaves it to its parent
            with suppress(StrongroomError, DeadlineExceededError):  # it expires
                lock.release(Deadline(timeout))


def _acquired(lock: SealedLock, wait_seconds: float, timeout: float) -> int | None:
    end = time.monotonic() + wait_seconds
    pause, longest = _PAUSES
    while (token := lock.acquire(Deadline(timeout))) is None and (left := end - time.monotonic()) > 0:
        time.sleep(min(pause, left))
        pause = min(pause * 2, longest)
    return token
