"""Time that passes at once where a provider pauses before it tries again, so that a test need not wait for it."""

from __future__ import annotations

import time


class SkippedTime:
    """The clock of deadlines: the real one, and each pause that was asked for is over already."""

    def __init__(self) -> None:
        self.passed = 0.0
        self.ended = False
        """Whether the test is over: a reader of a batch that failed may still try again, and would do so without rest."""

    def monotonic(self) -> float:
        return time.monotonic() + self.passed

    def pause(self, seconds: float) -> None:
        if self.ended:
            time.sleep(seconds)
        self.passed += seconds
