"""Interrupts of the main thread at any moment of a call, as by Ctrl-C or a task queue's time limit."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable, Iterator

__all__ = ["interrupted"]


class InterruptInTest(BaseException):
    """What the handler raises."""


def interrupted(call: Callable[[], object], times: int) -> Iterator[None]:
    """Make `call` again and again until a signal comes, about a millisecond later, and yield after each."""

    def until_a_signal_comes() -> None:
        signal.setitimer(signal.ITIMER_REAL, 0.0005 + chance.random() * 0.001)
        while True:
            call()

    def handle(*_: object) -> None:
        raise InterruptInTest

    chance, before = random.Random(1), signal.signal(signal.SIGALRM, handle)
    try:
        for _ in range(times):
            try:
                until_a_signal_comes()
            except InterruptInTest:
                yield
    finally:
        signal.signal(signal.SIGALRM, before)
