"""The values that this process fetched, which everything that masks in it knows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeVar

from strongroom.masking.parts import parts
from strongroom.masking.stream import Masker

__all__ = ["Searched", "known", "mask", "remember", "shows"]

T = TypeVar("T")
_DEEPEST = 64
_PLAIN = (bool, int, float, complex, type(None))
_CONTAINERS = (Mapping, list, tuple, set, frozenset)

known = Masker()
"""The one masker of this process, so that all that masks knows all values."""


def remember(value: str) -> None:
    """Mask `value` from now on, its lines, the texts in it where it is JSON, and a URL's password."""
    for text in (value, *parts(value)):
        known.add(text)


def mask(thing: T, *, masker: Masker | None = None) -> T | Any:
    """Return `thing` with every known value in it masked; the same object if it holds none.

    Text and bytes are masked; mappings, lists, tuples and sets are searched, however deep. For any other
    object that would show a value, its masked text is returned. An object that cannot be searched, or turned
    into text, is replaced as a whole; no error of a third party's object gets out.

    Args:
        thing: Anything, typically what is about to be logged.
        masker: Masks these values instead of those that the process fetched.
    """
    return _masked(thing, known if masker is None else masker, (), Searched())


class Searched(dict[int, tuple[Any, Any]]):
    """Containers that were searched, by their `id`, each with what it has become.

    Args:
        most: How many items they may have in all; another container is then replaced as a whole.
    """

    def __init__(self, most: float = math.inf) -> None:
        super().__init__()
        self.left = most


def shows(thing: object, masker: Masker, done: Searched) -> bool:
    """Return whether `thing` would show a value, or cannot be searched."""
    return _masked(thing, masker, (), done) is not thing


def _masked(thing: Any, masker: Masker, above: tuple[int, ...], done: Searched) -> Any:
    """Return `thing`, masked, whatever it is."""
    try:
        return _searched(thing, masker, above, done)
    except Exception:  # noqa: BLE001  # a lazy object, a mapping that another thread changes
        return _unshown(thing)


def _searched(thing: Any, masker: Masker, above: tuple[int, ...], done: Searched) -> Any:
    if isinstance(thing, str):
        return masker.mask_text(thing)
    if isinstance(thing, bytes | bytearray):
        masked = masker.mask(bytes(thing))
        return thing if masked == thing else masked
    if isinstance(thing, _PLAIN):
        return thing
    if len(above) < _DEEPEST and id(thing) not in above and isinstance(thing, _CONTAINERS):
        # One list that is in many others is searched once: otherwise each level could double the work.
        if id(thing) not in done:
            done.left -= len(thing)
            if done.left < 0:
                return _unshown(thing)
            inside = (*above, id(thing))
            if isinstance(thing, Mapping):
                old = [part for pair in thing.items() for part in pair]
            else:
                old = list(thing)
            new = [_masked(part, masker, inside, done) for part in old]
            done[id(thing)] = thing, thing if _same(old, new) else _rebuilt(thing, new)
        return done[id(thing)][1]
    return _shown(thing, masker)


def _same(old: list[Any], new: list[Any]) -> bool:
    return all(one is other for one, other in zip(old, new, strict=True))


def _rebuilt(thing: Any, items: list[Any]) -> Any:
    if isinstance(thing, Mapping):
        return dict(zip(items[::2], items[1::2], strict=True))
    if isinstance(thing, tuple) and hasattr(thing, "_fields"):
        # A named tuple; its own `__new__` may want other arguments.
        return tuple.__new__(type(thing), items)
    kind = next(kind for kind in (list, tuple, set, frozenset) if isinstance(thing, kind))
    return kind(items)


def _shown(thing: Any, masker: Masker) -> Any:
    for text in (str(thing), repr(thing)):
        masked = masker.mask_text(text)
        if masked is not text:
            return masked
    return thing


def _unshown(thing: Any) -> str:
    return f"<{type(thing).__name__} that cannot be shown>"
