"""The values that this process fetched, which everything that masks in it knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from strongroom.masking.parts import parts
from strongroom.masking.stream import Masker

__all__ = ["known", "mask", "remember"]

T = TypeVar("T")
_DEEPEST = 64
_PLAIN = (bool, int, float, complex, type(None))

known = Masker()
"""The one masker of this process, so that all that masks knows all values."""


def remember(value: str) -> None:
    """Mask `value` from now on, its lines, the texts in it where it is JSON, and a URL's password."""
    for text in (value, *parts(value)):
        known.add(text)


def mask(thing: T, *, masker: Masker | None = None) -> T | Any:
    """Return `thing` with every known value in it masked; the same object if it holds none.

    Text and bytes are masked; mappings, lists, tuples and sets are searched, however deep. For any other
    object that would show a value, its masked text is returned. An object that cannot be turned into text is
    replaced as a whole.

    Args:
        thing: Anything, typically what is about to be logged.
        masker: Masks these values instead of those that the process fetched.
    """
    return _masked(thing, known if masker is None else masker, ())


def _masked(thing: Any, masker: Masker, above: tuple[int, ...]) -> Any:
    if isinstance(thing, str):
        return masker.mask_text(thing)
    if isinstance(thing, bytes | bytearray):
        masked = masker.mask(bytes(thing))
        return thing if masked == thing else masked
    if isinstance(thing, _PLAIN):
        return thing
    if len(above) < _DEEPEST and id(thing) not in above:
        inside = (*above, id(thing))
        if isinstance(thing, Mapping):
            old = [part for pair in thing.items() for part in pair]
            new = [_masked(part, masker, inside) for part in old]
            return thing if _same(old, new) else dict(zip(new[::2], new[1::2], strict=True))
        if isinstance(thing, list | tuple | set | frozenset):
            old = list(thing)
            new = [_masked(part, masker, inside) for part in old]
            return thing if _same(old, new) else _rebuilt(thing, new)
    return _shown(thing, masker)


def _same(old: list[Any], new: list[Any]) -> bool:
    return all(one is other for one, other in zip(old, new, strict=True))


def _rebuilt(thing: Any, items: list[Any]) -> Any:
    if hasattr(thing, "_fields"):  # a named tuple
        return type(thing)(*items)
    kind = next(kind for kind in (list, tuple, set, frozenset) if isinstance(thing, kind))
    return kind(items)


def _shown(thing: Any, masker: Masker) -> Any:
    try:
        texts = (str(thing), repr(thing))
    except Exception:  # noqa: BLE001  # a third party's method
        return f"<{type(thing).__name__} that cannot be shown>"
    for text in texts:
        masked = masker.mask_text(text)
        if masked is not text:
            return masked
    return thing
