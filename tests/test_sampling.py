"""A sample is the same each time, leaves no case away, and has each case of each axis."""

from __future__ import annotations

from typing import Any

import pytest
from sampling import crossed, sample


def always(cases: list[Any]) -> list[tuple[Any, ...]]:
    """Return the values of those that are not torture."""
    sets = [case if hasattr(case, "marks") else pytest.param(case) for case in cases]
    return [one.values for one in sets if not any(mark.name == "torture" for mark in one.marks)]


def test_the_first_of_each_few_always_runs_and_the_others_are_torture():
    cases = sample(range(7), one_in=3)
    assert always(cases) == [(0,), (3,), (6,)]
    assert [getattr(case, "values", (case,)) for case in cases] == [(number,) for number in range(7)]


def test_a_case_of_several_arguments_stays_one():
    _, second = sample([(1, "a"), (2, "b")], one_in=2)
    assert second.values == (2, "b")


def test_names_and_marks_stay():
    mark = pytest.mark.skip(reason="any mark, to see it kept")
    _, second = sample([1, pytest.param(2, marks=mark, id="two")], one_in=2)
    assert (second.id, [one.name for one in second.marks]) == ("two", ["skip", "torture"])
    assert crossed([1, pytest.param(2, id="two")], ["a"])[1].id is None
    assert crossed([pytest.param(2, id="two", marks=mark)], [pytest.param("a", id="b")])[0].id == "two-b"


@pytest.mark.parametrize(
    "axes", [("ab", range(5)), (range(5), "ab"), ("abc", range(3)), ("a", range(4), "xyz")]
)
def test_those_that_always_run_have_each_case_of_each_axis(axes):
    cases = crossed(*map(list, axes))
    assert len(cases) == len({case.values for case in cases})
    for number, axis in enumerate(axes):
        assert {values[number] for values in always(cases)} == set(axis)
    assert len(always(cases)) == max(map(len, axes))
