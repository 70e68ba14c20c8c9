"""Tests of what holds for any input: with some examples always, with many as torture."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis.strategies import SearchStrategy


def holds_for(
    *strategies: SearchStrategy[Any], examples: int = 40, torture: int = 2000
) -> Callable[[Callable[..., None]], Callable[[int], None]]:
    """Make a test of a function that checks one example: the same examples each time."""

    def decorate(check: Callable[..., None]) -> Callable[[int], None]:
        @pytest.mark.parametrize("examples", [examples, pytest.param(torture, marks=pytest.mark.torture)])
        def test(examples: int) -> None:
            settings(derandomize=True, max_examples=examples, deadline=None)(given(*strategies)(check))()

        for name in ("__name__", "__qualname__", "__module__", "__doc__"):
            setattr(test, name, getattr(check, name))
        return test

    return decorate
