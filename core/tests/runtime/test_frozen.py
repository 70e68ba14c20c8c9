"""Named tuples and frozen classes of a module that does not postpone its annotations, as this one."""

import types

import pytest
from strongroom.runtime.frozen import NamedTuple, frozen


class PairOfTuple(NamedTuple):
    first: int
    second: str = "x"


@frozen
class FrozenPair:
    first: int
    second: str = "x"


def fill(namespace):
    """Fill the body of a class as Python 3.14 does: a function returns the annotations."""
    namespace |= {"second": "x", "__annotate_func__": lambda _: {"first": int, "second": str}}


@pytest.mark.parametrize(
    "kind",
    [
        PairOfTuple,
        FrozenPair,
        types.new_class("LaterPair", (NamedTuple,), {}, fill),
        frozen(types.new_class("FrozenLaterPair", (), {}, fill)),
    ],
)
def test_annotations_that_the_module_does_not_postpone(kind):
    assert kind.__match_args__ == ("first", "second")
    assert repr(kind(1)) == f"{kind.__name__}(first=1, second='x')"
    assert kind(1, "y") == kind(first=1, second="y") != kind(1)
