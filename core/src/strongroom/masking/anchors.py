"""Chooses the runs of letters and digits of a value to look for: no encoder changes these."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from strongroom.masking.compiled_later import compiled_later
from strongroom.masking.limits import ENOUGH

__all__ = [
    "NEITHER_LETTER_NOR_DIGIT",
    "WINDOW",
    "anchors",
    "has_window",
    "is_generated",
    "letters",
    "written_anchors",
]

WINDOW = 6
"""The length of a run that is looked for, in letters and digits."""
_EVERY = ENOUGH - WINDOW + 1  # the step between windows, so that any `ENOUGH` in a row hold a whole one
_DENSE = 512  # bytes at the beginning and the end of a long value in which windows are at every step
_MOST_WINDOWS = 256
_FEW_WINDOWS = 6  # so few may all be broken by line ends
_LEAST_DIFFERENT = 3
_LEAST_BESIDE = 4
_MOST_BESIDE = 2
_MOST_SIGNS = 3
_WRITTEN = (
    *(b"%c", b"\\%c", b"%%%02X", b"%%%02x", b"%%25%02X", b"%%2525%02X", b"&#%d;", b"&#x%X;", b"&#x%x;"),
    *(b"\\%03o", b"\\x%02X", b"\\x%02x", b"\\u%04X", b"\\u%04x", b"\\u{%x}"),
)
"""The ways to write a sign that nearly all encoders take."""
_ISLAND = compiled_later(rb"[A-Za-z0-9]+")
_LONG_ISLAND = compiled_later(rb"[A-Za-z0-9]{%d,}" % WINDOW)
_PAIR = compiled_later(rb"[A-Za-z0-9]{2}")
_HIGH = compiled_later(rb"(?:[\xc0-\xff][\x80-\xbf]{1,3}){2,4}")
_RARE = b"etaoinsrhldcumfpgwybvkxjqzETAOINSRHLDCUMFPGWYBVKXJQZ0123456789"
_ALNUM = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_LEAST_GENERATED = 8
_LOWER, _UPPER, _DIGIT, _SIGN = range(4)
_KINDS = bytes(
    _LOWER if char.islower() else _UPPER if char.isupper() else _DIGIT if char.isdigit() else _SIGN
    for char in map(chr, range(256))
)
NEITHER_LETTER_NOR_DIGIT = bytes(set(range(256)) - set(_ALNUM))
# Each character of UTF-8 outside of ASCII begins with a byte from 0xC0 on.
_NOT_COUNTED = bytes(set(range(0xC0)) - set(_ALNUM))


def letters(data: bytes) -> int:
    """Return how many letters and digits `data` has; each character outside of ASCII counts as one."""
    return len(data.translate(None, _NOT_COUNTED))


def has_window(raw: bytes) -> bool:
    """Return whether a run of `raw` is long enough to be worth looking for."""
    return _LONG_ISLAND.search(raw) is not None


def anchors(raw: bytes) -> Iterator[tuple[int, int]]:
    """Yield the runs of letters and digits of a value that are looked for."""
    if has_window(raw):
        windows = list(_windows(raw))
        yield from windows
        if len(raw) <= _DENSE:
            yield from _between(raw, windows)
        if len(windows) <= _FEW_WINDOWS:  # line ends within these, and there would be none
            yield from _beside(raw, windows)
    else:
        islands = [match.span() for match in _ISLAND.finditer(raw)]
        longest = max((stop - start for start, stop in islands), default=0)
        least = min(longest, 3)
        chosen = [span for span in islands if span[1] - span[0] >= least] if longest > 1 else []
        if len(raw) <= 2 * ENOUGH:
            chosen = sorted(chosen, key=lambda span: (span[0] - span[1], _commonness(raw[slice(*span)])))[:2]
        yield from chosen
        # Where the value was cut, or a sign of it was changed, pieces of it are still as they were.
        for start in range(0, min(len(raw) - WINDOW + 1, _DENSE), _EVERY):
            window = raw[start : start + WINDOW]
            if (
                len(raw) >= ENOUGH
                and window.isascii()
                and len(set(window)) >= _LEAST_DIFFERENT
                and b" " not in window
            ):
                yield start, start + WINDOW
    if len(raw) < _DENSE and not raw.isascii():
        yield from (match.span() for match in _HIGH.finditer(raw))


def _between(raw: bytes, windows: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield pieces with signs of long parts of `raw` without a window: of a cut value these may be all."""
    begin = 0
    for start, stop in (*windows, (len(raw), len(raw))):
        if start - begin >= ENOUGH and letters(raw[begin:start]) >= ENOUGH:
            pieces = range(begin, start - WINDOW + 1, _EVERY)
            yield from ((at, at + WINDOW) for at in pieces if raw[at : at + WINDOW].isascii())
        begin = max(begin, stop)


def written_anchors(raw: bytes) -> Iterator[tuple[bytes, int]]:
    """Yield what is looked for of a value without two letters or digits in a row, and where it begins there.

    These are two letters or digits with a sign between, in each way in which that is mostly written.
    """
    if has_window(raw) or _PAIR.search(raw) is not None:
        return
    signs = [
        at
        for at in range(1, len(raw) - 1)
        if raw[at] not in _ALNUM
        and raw[at : at + 1].isascii()
        and raw[at - 1] in _ALNUM
        and raw[at + 1] in _ALNUM
    ]
    for at in signs[:_MOST_SIGNS]:
        for written in _WRITTEN:
            yield raw[at - 1 : at] + written % raw[at] + raw[at + 1 : at + 2], at - 1


def _beside(raw: bytes, windows: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield short runs of letters and digits that are whole where line ends break all of `windows`.

    These are the longest that hold no window, and both ends of those whose windows one line end can break.
    """
    islands = [match.span() for match in _ISLAND.finditer(raw)]
    others = []
    for start, stop in islands:
        if any(start <= window[0] < stop for window in windows):
            if stop - start < 2 * WINDOW:
                yield start, start + _LEAST_BESIDE
                yield stop - _LEAST_BESIDE, stop
        elif stop - start >= _LEAST_BESIDE:
            others.append((start, stop))
    yield from sorted(others, key=lambda span: span[0] - span[1])[:_MOST_BESIDE]


def _windows(raw: bytes) -> Iterator[tuple[int, int]]:
    size = len(raw)
    if size <= _DENSE:
        for match in _LONG_ISLAND.finditer(raw):
            start, stop = match.span()
            yield from ((at, at + WINDOW) for at in range(start, stop - WINDOW, _EVERY))
            yield stop - WINDOW, stop
        return
    # A long value has windows at every step at its beginning and end, and few between.
    sparse = size // _MOST_WINDOWS
    island = _LONG_ISLAND.search(raw)
    while island is not None:
        at, stop = island.span()
        while at < stop - WINDOW:
            yield at, at + WINDOW
            if _DENSE < at < size - _DENSE and sparse > _EVERY:
                break
            at += _EVERY
        else:
            yield stop - WINDOW, stop
            at = stop
        if _DENSE < at < size - _DENSE:
            at = max(at, min(at + sparse, size - _DENSE)) if sparse > _EVERY else at
        island = _LONG_ISLAND.search(raw, at)


def _commonness(anchor: bytes) -> int:
    return -sum(_RARE.find(byte) for byte in anchor)


def is_generated(part: bytes) -> bool:
    """Return whether letters of both cases, and digits, alternate in `part`, as they do in no word."""
    if len(part) < _LEAST_GENERATED or not part.isascii():
        return False
    kinds = part.translate(_KINDS)
    changes = sum(one != other for one, other in pairwise(kinds))
    return 2 * changes >= len(part) and {_LOWER, _UPPER} <= set(kinds)
