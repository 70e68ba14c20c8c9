"""Options from references, with their current values: a component's login may have changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Self, TypeVar

__all__ = ["ReferencedText", "newest"]

T = TypeVar("T")


class ReferencedText(str):
    """The text of an option that a spec's references gave, and how to get it again.

    It is text like any other; copied, pickled or changed, it is plain text.

    Args:
        text: What they gave.
        again: Follows them again; returns None if they lead nowhere now.
    """

    __slots__ = ("_again",)
    _again: Callable[[], str | None]

    def __new__(cls, text: str, again: Callable[[], str | None]) -> Self:
        made = str.__new__(cls, text)
        made._again = again  # noqa: SLF001  # its own
        return made

    def again(self) -> str | None:
        """Return what the references give now, past caches; None if they lead nowhere."""
        return self._again()

    def __reduce__(self) -> tuple[Any, ...]:
        return str, (str(self),)


def newest(value: T) -> T:
    """Return `value` with what its references give now, also in members of mappings and lists.

    For credentials, before a login or after a refused one: a file, variable or secret that a reference of the
    spec names may have changed since the component was made. Text that no reference gave, or whose reference
    leads nowhere now, stays as it is. This may read a file, or ask another pipeline's backend.
    """
    new: Any = value
    if isinstance(value, ReferencedText):
        text = value.again()
        new = value if text is None else text
    elif isinstance(value, Mapping):
        new = {name: newest(one) for name, one in value.items()}
    elif isinstance(value, list | tuple):
        new = type(value)(newest(one) for one in value)
    return new  # type: ignore[no-any-return]  # of the same kind as `value`
