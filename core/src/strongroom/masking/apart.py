"""Finds values with the same separator between all characters: `k 3 J x`, or a character a line."""

from __future__ import annotations

from functools import lru_cache

from strongroom.masking.alignment import extend_left, extend_right
from strongroom.masking.dumps import characters_at
from strongroom.masking.steps import shown, width
from strongroom.runtime.frozen import NamedTuple

__all__ = [
    "OF_CELLS",
    "SEPARATORS",
    "Spread",
    "cells_reach",
    "followed_apart",
    "followed_in_cells",
    "spreads",
]

SEPARATORS = (b" ", b"\n", b"  ", b", ", b"\\\n", b"\r\n", b",", b'","', b'", "', b'",\n  "')
OF_CELLS = b"   "
"""Stands between two characters in a dump without addresses, as `od -An -c` prints it."""
_LONGEST_ROW = 16
_CELL = 4
_FOLLOWED = 6  # characters in cells, so that a table of zeros is not followed from each
_MOST_DUMPED = 4096
_SIGNS = b"!#$%&()*+-./:;<=>?@[]^_`{|}~"  # what lists of characters show as it is
_SHOWN = 3
"""So many characters, with a separator behind each, are looked for."""
_DROPPED = b" \t\r\n"
_LONGEST_SHOWN = 24
# Behind the last character is only a separator that is a single byte.
_WITH_ENDS = [(one, one if len(one) == 1 else b"") for one in (*SEPARATORS, OF_CELLS)]
_LEAST = 8


class Spread(NamedTuple):
    """Which characters of a value are looked for, from `offset` on, and the separator between them."""

    offset: int
    separator: bytes


def spreads(raw: bytes) -> list[tuple[bytes, Spread]]:
    """Return what is looked for of a value whose characters are apart."""
    offset = _next_run(raw, 0) if len(raw) >= _LEAST else -1
    if offset < 0 and len(raw) >= _LEAST:
        offset = _next_run(raw, 0, _SIGNS)
    if offset < 0:
        return []
    chars = _characters(raw, offset)
    patterns = [separator.join(chars) + end for separator, end in _WITH_ENDS]
    looked_for = [*zip(patterns, _spreads_at(offset), strict=True)]
    other = _next_run(raw, offset + _SHOWN)  # as the first may be where a row ends
    if other >= 0:
        looked_for.append((OF_CELLS.join(_characters(raw, other)), _spreads_at(other)[-1]))
    return looked_for


@lru_cache(64)
def _spreads_at(offset: int) -> tuple[Spread, ...]:
    """Return one for each separator; of thousands of values most have the same."""
    return tuple([Spread(offset, separator) for separator, _ in _WITH_ENDS])


def _characters(raw: bytes, offset: int) -> list[bytes]:
    return [raw[at : at + 1] for at in range(offset, offset + _SHOWN)]


def _next_run(raw: bytes, begin: int, besides: bytes = b"") -> int:
    """Return where from `begin` on as many letters and digits are in a row as are looked for, or -1.

    Signs that are in `besides` count too.
    """
    for offset in range(begin, len(raw) - _SHOWN):
        chars = raw[offset : offset + _SHOWN]
        if chars.isalnum() and chars.isascii():
            return offset
        if besides and all(byte in besides or bytes([byte]).isalnum() for byte in chars):
            return offset
    return -1


def followed_apart(data: bytes, start: int, raw: bytes, spread: Spread) -> tuple[int, int, int]:
    """Return from where to where characters of `raw` are apart in `data`, and how many are."""
    offset, separator = spread
    gap = len(separator)
    at, place, count, end = start, offset, 0, start
    while place < len(raw):
        behind = data.find(separator, at + 1, at + _LONGEST_SHOWN)
        size, stop = _matched_character(data, at, behind, raw, place)
        if not size:
            if raw[place] not in _DROPPED:
                break
            place += 1
            continue
        place, count, end = place + size, count + 1, stop
        if stop != behind:
            break
        at = behind + gap
    begin, place = start, offset
    while place:
        previous = place - 1
        while previous and raw[previous] & 0xC0 == 0x80:  # noqa: PLR2004  # within a character
            previous -= 1
        char = raw[previous:place]
        low = begin - gap - len(char)
        if low >= 0 and data.startswith(char + separator, low):
            begin, count = low, count + 1
        elif low >= 1 and data.startswith(b"\\" + char + separator, low - 1):
            begin, count = low - 1, count + 1
        elif char not in _DROPPED:
            break
        place = previous
    return begin, end, count


def cells_reach(raw: bytes) -> int:
    """Return how many bytes of a dump one search for `raw` covers, so that the next begins behind them."""
    return min(len(raw), _MOST_DUMPED) * _CELL


def followed_in_cells(data: bytes, start: int, raw: bytes, spread: Spread) -> tuple[int, int, int]:
    """Return what `followed_apart` does where the characters are cells of a dump, in rows."""
    offset = spread.offset
    view = characters_at(data, start, 2 * min(len(raw), _MOST_DUMPED) + _LONGEST_ROW)
    if view is None:
        return start, start, 0
    longest = (0, 0, 0)
    needle = raw[offset : offset + _FOLLOWED]
    at = view.data.find(needle)
    while at >= 0:
        stop, last = extend_right(view.data, at, raw, offset)
        begin, first = extend_left(view.data, at, raw, offset)
        span = view.origin(begin, stop)
        count = sum(byte & 0xC0 != 0x80 for byte in raw[first:last])  # noqa: PLR2004  # not within a character
        if count > longest[2] and span[1] > start:  # else of a dump before
            longest = (*span, count)
        at = view.data.find(needle, at + 1)
    return longest


def _matched_character(data: bytes, at: int, behind: int, raw: bytes, place: int) -> tuple[int, int]:
    """Return how many bytes of `raw` are at `at`, before the separator at `behind`, and where they end."""
    size = width(raw, place)
    char = raw[place : place + size]
    if behind >= 0:
        piece = data[at:behind]
        if shown(piece, 0, char) == len(piece):
            return size, behind
        byte = char[:1]
        if piece in {byte, b"\\%03o" % byte[0], b"\\x%02x" % byte[0]}:
            return 1, behind  # a program that knows bytes alone
    # The last one: the next separator belongs to what follows the value, if there is one at all.
    stop = shown(data, at, char)
    return (0, at) if stop is None else (size, stop)
