"""What cannot be called as it has to be: coroutine functions, and methods that have no object."""

from __future__ import annotations

from functools import partial
from types import FunctionType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

__all__ = ["is_async", "refuse_async", "refuse_class"]

_CO_COROUTINE: Final = 0x80
"""`inspect.CO_COROUTINE`; `inspect` takes long to import."""


def is_async(function: Any) -> bool:
    """Return whether calling `function` gives a coroutine, which somebody would have to await."""
    while isinstance(function, partial):
        function = function.func
    code = getattr(function, "__code__", None)
    if code is None and callable(function):  # an object that can be called
        code = getattr(type(function).__call__, "__code__", None)
    return bool(getattr(code, "co_flags", 0) & _CO_COROUTINE)


def refuse_async(owner: str, **functions: Any) -> None:
    """Raise `TypeError` if one of `functions`, by their names, is a coroutine function."""
    for name, function in functions.items():
        if is_async(function):
            raise TypeError(
                f"{owner}: {name} is a coroutine function, which nobody would await; give a plain function, "
                "which may run its own event loop"
            )


def refuse_class(given: Any, method: str) -> None:
    """Raise `TypeError` if `given` is a class, not an object: its `method` has no object to work on."""
    if not isinstance(given, type):
        return
    found = next((vars(one)[method] for one in given.__mro__ if method in vars(one)), None)
    if isinstance(found, FunctionType):  # a static method or one of the class needs none
        name = given.__name__
        raise TypeError(f"{name} is a class, and an object of it is needed: write {name}(…)")
