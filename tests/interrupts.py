"""Interrupts of the main thread at any moment of a call, as by Ctrl-C or a task queue's time limit."""

from __future__ import annotations

import gc
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["interrupted"]


_LONG_SECONDS = 2
"""After so long the signal has come, and Python has dropped what the handler raised: it was in a destructor."""


class InterruptInTest(BaseException):
    """What the handler raises."""


def interrupted(call: Callable[[], object], times: int, *, handled: bool = False) -> Iterator[None]:
    """Make `call` again and again until a signal comes, about a millisecond later, and yield after each.

    It yields while the handler's exception is being handled, or with `handled` afterwards.
    """

    def until_a_signal_comes() -> None:
        signal.setitimer(signal.ITIMER_REAL, 0.0005 + chance.random() * 0.001)
        until = time.monotonic() + _LONG_SECONDS
        while time.monotonic() < until:
            call()
        signal.setitimer(signal.ITIMER_REAL, 0)

    def handle(*_: object) -> None:
        raise InterruptInTest

    def drop(unraisable: Any) -> None:
        if unraisable.exc_type is not InterruptInTest:
            hook(unraisable)

    chance, before = random.Random(1), signal.signal(signal.SIGALRM, handle)
    hook, sys.unraisablehook = sys.unraisablehook, drop  # Python drops what is raised in a destructor
    gc.disable()  # nor does it raise what its callbacks do, of which some libraries have one
    try:
        for _ in range(times):
            try:
                until_a_signal_comes()
            except InterruptInTest:
                if not handled:
                    yield
            if handled:
                yield
    finally:
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        sys.unraisablehook = hook
        gc.enable()
