"""Another reading of a text, and where in the text its bytes come from."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable
from typing import NamedTuple

__all__ = ["Moved", "Twice", "View", "substituted"]


class View(NamedTuple):
    """What a text may also be read as: the bytes, where they come from, and the name of the encoding."""

    data: bytes
    origin: Callable[[int, int], tuple[int, int]]
    encoding: str
    text: bool = True


class Twice:
    """Where the bytes of a view of a view come from."""

    def __init__(
        self, inner: Callable[[int, int], tuple[int, int]], outer: Callable[[int, int], tuple[int, int]]
    ) -> None:
        self.inner, self.outer = inner, outer

    def __call__(self, start: int, stop: int) -> tuple[int, int]:
        return self.outer(*self.inner(start, stop))


class Moved:
    """Where the bytes of a view of a part come from."""

    def __init__(self, inner: Callable[[int, int], tuple[int, int]], by: int) -> None:
        self.inner, self.by = inner, by

    def __call__(self, start: int, stop: int) -> tuple[int, int]:
        first, last = self.inner(start, stop)
        return first + self.by, last + self.by


def substituted(pattern: re.Pattern[bytes], data: bytes, by: tuple[bytes, ...]) -> View | None:
    """Return `data` with each match replaced by what stands in `by` for its group; None without a match."""
    pieces: list[bytes] = []
    begins: list[int] = []  # where in the view each piece that is kept begins
    origins: list[int] = []  # and where in `data`
    at = size = 0
    for match in pattern.finditer(data):
        put = by[match.lastindex - 1] if by and match.lastindex else b""
        begins += (size, size + match.start() - at)
        origins += (at, match.start())
        pieces += (data[at : match.start()], put)
        size += match.start() - at + len(put)
        at = match.end()
    if not pieces:
        return None
    begins.append(size)
    origins.append(at)
    pieces.append(data[at:])

    def place(index: int) -> int:
        which = bisect_right(begins, index) - 1
        return origins[which] + index - begins[which]

    def origin(start: int, stop: int) -> tuple[int, int]:
        return place(start), place(stop - 1) + 1

    return View(b"".join(pieces), origin, "")
