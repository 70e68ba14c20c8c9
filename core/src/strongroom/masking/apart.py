"""Values whose characters stand apart, each behind the same separator: `k 3 J x`, or one a line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from strongroom.masking.looks import shown, width

__all__ = ["SEPARATORS", "Spread", "followed_apart", "spreads"]

SEPARATORS = (b" ", b"\n", b"  ", b", ", b"\\\n", b"\r\n")
_SHOWN = 3
"""So many characters, with a separator behind each, are looked for."""
_DROPPED = b" \t\r\n"
_LONGEST_SHOWN = 24
_LEAST = 8


class Spread(NamedTuple):
    """From where on in a value the characters that are looked for come, and what stands between them."""

    offset: int
    separator: bytes


def spreads(raw: bytes) -> Iterator[tuple[bytes, Spread]]:
    """Yield what is looked for of a value whose characters stand apart."""
    if len(raw) < _LEAST:
        return
    for offset in range(len(raw) - _SHOWN):
        chars = raw[offset : offset + _SHOWN]
        if chars.isalnum() and chars.isascii():
            for separator in SEPARATORS:
                pattern = b"".join(chars[at : at + 1] + separator for at in range(_SHOWN))
                yield pattern, Spread(offset, separator)
            return


def followed_apart(data: bytes, start: int, raw: bytes, spread: Spread) -> tuple[int, int, int]:
    """Return from where to where characters of `raw` stand apart in `data`, and how many do."""
    offset, separator = spread
    gap = len(separator)
    at, place, count, end = start, offset, 0, start
    while place < len(raw):
        behind = data.find(separator, at + 1, at + _LONGEST_SHOWN)
        size, stop = _one(data, at, behind, raw, place)
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


def _one(data: bytes, at: int, behind: int, raw: bytes, place: int) -> tuple[int, int]:
    """Return how many bytes of `raw` stand at `at`, before the separator at `behind`, and where they end."""
    size = width(raw, place)
    char = raw[place : place + size]
    if behind < 0:  # the last one
        stop = shown(data, at, char)
        return (0, at) if stop is None else (size, stop)
    piece = data[at:behind]
    if shown(piece, 0, char) == len(piece):
        return size, behind
    byte = char[:1]
    if piece in {byte, b"\\%03o" % byte[0], b"\\x%02x" % byte[0]}:
        return 1, behind  # a program that knows bytes alone
    return 0, at
