"""Samples of a kit, where the whole of it is too much to be run always.

```python
@sampled(pytest.mark.slow)
class TestAcmeOverAnotherTransport(TestAcme): ...
```

Which tests are in a sample is decided by their names, so it is the same everywhere and each time.
"""

from __future__ import annotations

import functools
import inspect
import zlib
from collections.abc import Callable, Container, Iterable
from typing import Any, TypeVar

import pytest

from strongroom.testing.conformance.base import ConformanceBase, only_where, why_not_asked

__all__ = ["count_of_parameters", "mark_beyond", "names_of_tests", "sampled", "seed_of", "together"]

Kit = TypeVar("Kit", bound=type[ConformanceBase])


def sampled(*beyond_sample: pytest.MarkDecorator, one_in: int = 1) -> Callable[[Kit], Kit]:
    """Give marks to all tests of a kit except a sample, which has each test once, with one of its parameters.

    It is for another configuration of a backend that already passes the whole kit: another transport, another
    option. If the sample has some parameters of a test, the name of the marked test ends in `_beyond`.

    Args:
        beyond_sample: The marks.
        one_in: Put one in so many tests into the sample, and all tests that the base class does not have to
            pass.
    """

    def decorate(kit: Kit) -> Kit:
        for name in names_of_tests(kit):
            test = getattr(kit, name)
            if why_not_asked(kit, test):
                continue
            seed, left_out = divmod(seed_of(kit, name), one_in)
            here_alone = any(why_not_asked(base, test) for base in kit.__bases__)
            sample = () if left_out and not here_alone else (seed % count_of_parameters(test),)
            mark_beyond(kit, name, sample, beyond_sample)
        return kit

    return decorate


def together(*single: pytest.MarkDecorator, apart: Container[str] = ()) -> Callable[[Kit], Kit]:
    """Have one test try all the parameters of each test that has some; the tests of single ones get marks.

    It saves making an empty backend for each of hundreds of keys and values. The tests have names that end in
    `_together`, name each parameter that fails, and are of this kit alone, not of those derived from it.
    Apply it after `behind_each`, whose samples are of the single ones.

    Args:
        single: Marks for the tests of single parameters.
        apart: Names of tests that stay as they are, where what one parameter leaves makes the next one slow.
    """

    def decorate(kit: Kit) -> Kit:
        for name in names_of_tests(kit):
            test = getattr(kit, name)
            if name not in apart and count_of_parameters(test) > 1 and not why_not_asked(kit, test):
                setattr(kit, f"{name}_together", _all_of(test, kit))
                mark_beyond(kit, name, (), single)
        return kit

    return decorate


def names_of_tests(kit: type) -> list[str]:
    """Return the names of the tests that a kit has, or inherits."""
    return [name for name in dir(kit) if name.startswith("test_")]


def seed_of(kit: type, test: str) -> int:
    """Return the number that decides what a sample has of a test: the same in each process."""
    return zlib.crc32(f"{kit.__name__}.{test}".encode())  # `hash` differs between processes


def count_of_parameters(test: Callable[..., Any]) -> int:
    """Return with how many parameters a test is run: 1 where it has none, or several lists of them."""
    given = [mark for mark in getattr(test, "pytestmark", ()) if mark.name == "parametrize"]
    return len(list(given[0].args[1])) if len(given) == 1 else 1


def mark_beyond(kit: type, name: str, sample: Container[int], marks: Iterable[pytest.MarkDecorator]) -> None:
    """Give marks to a test of a kit, except those of its parameters whose numbers are in `sample`."""
    test, marks = getattr(kit, name), tuple(marks)
    numbers = range(count_of_parameters(test))
    beyond = {number for number in numbers if number not in sample}
    if len(beyond) == len(numbers):
        setattr(kit, name, _copy(test, marks))
    elif beyond:
        setattr(kit, name, _copy(test, (), set(numbers) - beyond))
        setattr(kit, f"{name}_beyond", _copy(test, marks, beyond))


def _copy(
    test: Callable[..., Any], marks: Iterable[pytest.MarkDecorator], values: Container[int] | None = None
) -> Callable[..., Any]:
    """Return what calls `test`, with marks that `test` itself does not get, and only some of its values."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        test(*args, **kwargs)

    if values is not None:
        run.pytestmark = [  # type: ignore[attr-defined]  # of pytest
            _only(mark, values) if mark.name == "parametrize" else mark for mark in vars(test)["pytestmark"]
        ]
    for mark in marks:
        mark(run)
    return run


def _only(mark: pytest.Mark, values: Container[int]) -> pytest.Mark:
    """Return a mark that gives a test those of the parameters of `mark` whose numbers are in `values`."""
    names, parameters = mark.args
    chosen = [value for number, value in enumerate(parameters) if number in values]
    ids = mark.kwargs.get("ids")
    if isinstance(ids, list):
        ids = [one for number, one in enumerate(ids) if number in values]
    return pytest.mark.parametrize(names, chosen, **{**mark.kwargs, "ids": ids}).mark


def _all_of(test: Callable[..., Any], kit: type[ConformanceBase]) -> Callable[..., Any]:
    """Return a test of `kit` alone that calls `test` with one after the other of its parameters."""
    parametrize = next(mark for mark in vars(test)["pytestmark"] if mark.name == "parametrize")
    argument, parameters = parametrize.args
    ids = parametrize.kwargs.get("ids")

    def run(*args: Any, **kwargs: Any) -> None:
        failed: list[str] = []
        for number, parameter in enumerate(parameters):
            value = parameter.values[0] if isinstance(parameter, pytest.ParameterSet) else parameter
            named = parameter.id if isinstance(parameter, pytest.ParameterSet) else None
            if named is None:
                named = ids[number] if isinstance(ids, list) else ascii(value)
            try:
                test(*args, **kwargs, **{argument: value})
            except (Exception, pytest.fail.Exception) as error:  # noqa: BLE001  # all that fail are named
                failed.append(f"[{named}] {type(error).__name__}: {error}")
        if failed:
            pytest.fail("\n".join(failed))

    functools.update_wrapper(run, test)
    signature = inspect.signature(test)
    kept = [one for one in signature.parameters.values() if one.name != argument]
    run.__signature__ = signature.replace(parameters=kept)  # type: ignore[attr-defined]  # pytest looks at it
    others = [mark for mark in vars(test)["pytestmark"] if mark is not parametrize]
    run.pytestmark = others  # type: ignore[attr-defined]  # of pytest
    only_here = only_where(lambda other: None if other is kit else "its parameters are tried one by one here")
    return only_here(run)
