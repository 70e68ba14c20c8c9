"""Time that passes at once where a provider pauses before it tries again, so that a test need not wait for it."""

from __future__ import annotations

import time

import pytest


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

    def skip_pauses_of(self, client: type, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let the pauses of objects of `client`, which takes a function `sleep`, be over at once."""
        defaults = vars(client)["__init__"].__kwdefaults__
        assert "sleep" in defaults, "its tests would wait"
        monkeypatch.setitem(defaults, "sleep", self.pause)
