"""Time that passes at once where a provider pauses before it tries again, so that a test need not wait for it."""

from __future__ import annotations

import time


class SkippedTime:
    """The clock of deadlines: the real one, and each pause that was asked for is over already."""

    def __init__(self) -> None:
        self.passed = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.passed

    def pause(self, seconds: float) -> None:
        self.passed += seconds
