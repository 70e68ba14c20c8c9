"""What a view of a text is, and how it tells where in the text its bytes come from."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import accumulate

from strongroom.runtime.frozen import NamedTuple

__all__ = [
    "LEAST",
    "LEAST_NULS",
    "NEVER_IN_TEXT",
    "NOTHING",
    "RUN",
    "Hits",
    "Joined",
    "Known",
    "Moved",
    "Runs",
    "Twice",
    "Unbroken",
    "View",
    "is_text",
    "is_utf16",
    "substituted",
]

Hits = Callable[[bytes], Iterable[int]]
"""Returns where in a text something begins that may belong to a value."""
LEAST = 22
"""The fewest characters of base64 or of a list that are decoded. Shorter forms are looked for themselves."""
RUN = b"\1" * LEAST
_BEGUN_RUN = b"\0" + RUN
_EDGE = 16  # the least that a form of 4 characters could hide in is longer with its surroundings
# So much of a find is left at each end: with what is longer than an edge beside it, it is a run.
_INSIDE = LEAST - _EDGE - 1
NEVER_IN_TEXT = bytes((*range(7), *range(14, 27), 0x7F, 0xC0, 0xC1, *range(0xF5, 0x100)))


class View(NamedTuple):
    """Another reading of a text: its bytes, a function that tells where they come from, and its encoding."""

    data: bytes
    origin: Callable[[int, int], tuple[int, int]]
    encoding: str
    text: bool = True


class Twice:
    """Tells where the bytes of a view of a view come from."""

    def __init__(
        self, inner: Callable[[int, int], tuple[int, int]], outer: Callable[[int, int], tuple[int, int]]
    ) -> None:
        self.inner, self.outer = inner, outer

    def __call__(self, start: int, stop: int) -> tuple[int, int]:
        return self.outer(*self.inner(start, stop))


class Moved:
    """Tells where the bytes of a view of a part come from, which begins at `by`."""

    def __init__(self, inner: Callable[[int, int], tuple[int, int]], by: int) -> None:
        self.inner, self.by = inner, by

    def __call__(self, start: int, stop: int) -> tuple[int, int]:
        first, last = self.inner(start, stop)
        return first + self.by, last + self.by


class Joined:
    """Tells where the bytes of joined pieces come from; each piece has one span."""

    def __init__(self, pieces: Sequence[bytes], spans: Sequence[tuple[int, int]]) -> None:
        self.ends, self.spans = list(accumulate(map(len, pieces))), spans

    def __call__(self, start: int, stop: int) -> tuple[int, int]:
        first, last = bisect_right(self.ends, start), bisect_right(self.ends, stop - 1)
        return self.spans[first][0], self.spans[last][1]


class Runs:
    """Where `LEAST` ones or more are in a row, in bytes that are zeros and ones alone.

    They are looked for from the end on, with the zero before them: behind each zero that begins none, Python
    then goes on `LEAST` bytes further. Looking for the ones alone it compares each byte.
    """

    __slots__ = ("begins", "goes_on")

    def __init__(self, marked: bytes | bytearray) -> None:
        begins: list[int] = []
        at = marked.rfind(_BEGUN_RUN)
        while at >= 0:
            begins.append(at + 1)
            at = marked.rfind(_BEGUN_RUN, 0, at)
        if marked.startswith(RUN):
            begins.append(0)
        begins.reverse()
        self.begins = begins
        """Where each begins, the first one first."""
        self.goes_on = partial(marked.startswith, RUN)
        """Returns whether the rest of one is at a place."""


class Unbroken:
    """Tells where in a text a character is, from where it is in the same text without `breaks`."""

    def __init__(self, breaks: Sequence[tuple[int, int]]) -> None:
        self._removed = [0, *accumulate(end - begin for begin, end in breaks)]
        self._places = [begin - gone for (begin, _), gone in zip(breaks, self._removed, strict=False)]

    def __call__(self, at: int) -> int:
        return at + self._removed[bisect_right(self._places, at)]


def substituted(
    pattern: re.Pattern[bytes], data: bytes, by: tuple[bytes, ...] | Callable[[re.Match[bytes]], bytes] = ()
) -> View | None:
    """Return `data` with each match replaced by what `by` has for its group, or returns; None without one."""
    put = by if callable(by) else partial(_of_group, by)
    replaced, count = pattern.subn(put if by else b"", data)
    return View(replaced, _Substituted(pattern, data, put), "") if count else None


def _of_group(by: tuple[bytes, ...], match: re.Match[bytes]) -> bytes:
    return by[match.lastindex - 1] if by and match.lastindex else b""


class _Substituted:
    """Tells where the bytes of a view with replaced parts come from; works it out at the first question."""

    def __init__(
        self, pattern: re.Pattern[bytes], data: bytes, put: Callable[[re.Match[bytes]], bytes]
    ) -> None:
        self.pattern, self.data, self.put = pattern, data, put
        # Where in the view each part begins: one that is kept, one put in, and so on.
        self.begins: list[int] = []
        self.origins: list[int] = []  # and where in `data`

    def __call__(self, start: int, stop: int) -> tuple[int, int]:
        begins, origins = self.begins, self.origins
        if not begins:
            self._work_out()
        first, last = bisect_right(begins, start) - 1, bisect_right(begins, stop - 1) - 1
        # What was put in comes from the whole of its match.
        begin = origins[first] + (0 if first % 2 else start - begins[first])
        return begin, origins[last + 1] if last % 2 else origins[last] + stop - begins[last]

    def _work_out(self) -> None:
        at = size = 0
        for match in self.pattern.finditer(self.data):
            begins = size, size + match.start() - at
            size = begins[1] + len(self.put(match))
            self.begins += begins
            self.origins += (at, match.start())
            at = match.end()
        self.begins.append(size)
        self.origins.append(at)


class Known:
    """Where values were found already, so that nothing is decoded there. Sorted at the first question."""

    def __init__(self, spans: Iterable[tuple[int, int]]) -> None:
        self._spans = list(spans)
        self._starts: list[int] | None = None
        self._stops: list[int] = []

    def crossed_out(self, data: bytes) -> bytearray:
        """Return `data` with dots instead of what was found, so that no run goes on through it.

        A run that begins before a find, or goes on behind it, by more than an edge is left.
        """
        copy = bytearray(data)
        for start, stop in self._spans:
            size = stop - start - 2 * _INSIDE
            if size > 0:
                copy[start + _INSIDE : stop - _INSIDE] = b"." * size
        return copy

    def covers(self, start: int, stop: int) -> bool:
        """Return whether nearly all from `start` to `stop` was found."""
        if not self._spans:
            return False
        if self._starts is None:
            self._starts = self._joined()
        which = bisect_right(self._starts, start + _EDGE) - 1
        return which >= 0 and self._stops[which] >= stop - _EDGE

    def _joined(self) -> list[int]:
        starts: list[int] = []
        for start, stop in sorted(self._spans):
            if starts and start <= self._stops[-1]:
                self._stops[-1] = max(self._stops[-1], stop)
            else:
                starts.append(start)
                self._stops.append(stop)
        return starts


NOTHING = Known(())


def is_text(data: bytes) -> bool:
    """Return whether `data` may be text of UTF-8, cut at its ends or not."""
    if data.isascii() and len(data.translate(None, NEVER_IN_TEXT)) == len(data):
        return True
    inner = data[3:-3]  # the first and the last character may be cut
    if len(inner.translate(None, NEVER_IN_TEXT)) != len(inner):
        return False
    try:
        inner.decode()
    except UnicodeDecodeError as error:
        return error.start < 3 and error.end - error.start < 3 and len(data) > 64  # noqa: PLR2004  # cut characters
    return True


_KINDS = bytes(2 if byte == 0 else int(0x20 <= byte <= 0x7E) for byte in range(256))  # noqa: PLR2004  # of ASCII
_OF_UTF16 = b"\2\1\2\1\2\1\2\1\2\1\2"
LEAST_NULS = 6  # of UTF-16 every second one


def is_utf16(data: bytes) -> bool:
    """Return whether `data` may be UTF-16 of a text that is mostly ASCII, or has a piece that is."""
    nuls = data.count(0)
    return 3 * nuls > len(data) or (nuls >= LEAST_NULS and _OF_UTF16 in data.translate(_KINDS))
