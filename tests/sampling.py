"""Which cases of a parametrized test `make test` runs: a sample that is the same each time; the others are torture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import cycle, islice, product
from typing import Any

import pytest
from _pytest.mark import ParameterSet


def sample(cases: Iterable[Any], *, one_in: int) -> list[Any]:
    """Return the cases for `parametrize`: the first of each `one_in` always runs, the others are torture."""
    return [case if not number % one_in else _torture(case) for number, case in enumerate(cases)]


def crossed(*axes: Sequence[Any]) -> list[Any]:
    """Return each combination of one case of each axis: those that always run have each case of each axis in one."""
    longest = max(map(len, axes))
    always = set(zip(*(islice(cycle(range(len(axis))), longest) for axis in axes), strict=True))
    numbers = product(*(range(len(axis)) for axis in axes))
    return [
        combination if number in always else _torture(combination)
        for number, combination in zip(numbers, map(_combined, product(*axes)), strict=True)
    ]


def _combined(cases: Sequence[Any]) -> Any:
    """Return one case of several: their values, their marks, and their names where each has one."""
    sets = [case if isinstance(case, ParameterSet) else pytest.param(case) for case in cases]
    named = all(isinstance(one.id, str) for one in sets)
    return pytest.param(
        *(value for one in sets for value in one.values),
        marks=[mark for one in sets for mark in one.marks],
        id="-".join(str(one.id) for one in sets) if named else None,
    )


def _torture(case: Any) -> Any:
    values, marks, name = case if isinstance(case, ParameterSet) else ((case,), (), None)
    if not isinstance(case, ParameterSet) and isinstance(case, tuple):
        values = case  # a case of several arguments
    return pytest.param(*values, marks=[*marks, pytest.mark.torture], id=name)
