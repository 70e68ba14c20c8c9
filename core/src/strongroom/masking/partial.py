"""Whether the end of what has come by now may be the beginning of a value, as it is or encoded."""

from __future__ import annotations

import re
from binascii import a2b_base64, a2b_hex, b2a_base64
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from strongroom.masking.limits import ENOUGH

__all__ = ["Beginnings", "Starts", "begun_at_end", "encoded_at_end", "encoded_beginnings", "inside_at_end"]

_ENCODED_BYTES = 15
_HEAD = 3
_TO_URL_ALPHABET = bytes.maketrans(b"+/", b"-_")
_ENCODED_TAIL = re.compile(rb"[A-Za-z0-9+/_-]{3,128}\Z")
_HEX_TAIL = re.compile(rb"[0-9a-fA-F]{4,128}\Z")
_EVIDENCE = 2


class Starts(NamedTuple):
    """Texts that may begin at the end of what has come, in order, and their first characters."""

    ordered: list[bytes]
    heads: frozenset[bytes]
    longest: int

    @classmethod
    def of(cls, texts: Iterable[bytes]) -> Starts:
        """Return those of `texts`."""
        ordered = sorted(texts)
        heads = frozenset(text[:size] for text in ordered for size in range(1, _HEAD + 1))
        return cls(ordered, heads, max(map(len, ordered), default=0))


class Beginnings(NamedTuple):
    """How so many values begin, themselves and in base64 and hex; and all of them."""

    size: int
    values: Starts
    encoded: Starts
    everything: bytes


def inside_at_end(tail: bytes, everything: bytes) -> int:
    """Return how many bytes at the end of `tail` are a part of a value, if they are two or more."""
    size = 0
    while size < min(len(tail), ENOUGH) and tail[-size - 1 :] in everything:
        size += 1
    return size if size > 1 else 0


def begun_at_end(tail: bytes, starts: Starts) -> int:
    """Return how many bytes at the end of `tail` are the beginning of one of `starts`, and not the whole."""
    ordered, heads, longest = starts
    for at in range(max(0, len(tail) - longest), len(tail)):
        if tail[at : at + _HEAD] not in heads:
            continue
        rest = tail[at:]
        # In sorted order, those that begin with `rest` stand right behind it.
        place = bisect_right(ordered, rest)
        if place < len(ordered) and ordered[place].startswith(rest):
            return len(rest)
    return 0


def encoded_beginnings(raw: bytes) -> Iterator[bytes]:
    """Yield how `raw` begins in base64, at each alignment, and in hex."""
    start = raw[:_ENCODED_BYTES]
    for offset, undecided in ((0, 0), (1, 2), (2, 3)):
        form = b2a_base64(bytes(offset) + start, newline=False)[undecided:_ENCODED_BYTES]
        yield form
        yield form.translate(_TO_URL_ALPHABET)
    yield start.hex().encode()
    yield start.hex().upper().encode()


def encoded_at_end(tail: bytes, known: Beginnings) -> Iterator[tuple[int, int]]:
    """Yield how many bytes at the end of `tail` may begin a value in base64 or hex, and how much of it."""
    begun = begun_at_end(tail[-2 * _ENCODED_BYTES :], known.encoded)
    if begun:
        yield begun, begun // 2
    run = _ENCODED_TAIL.search(tail)
    if run is None:
        return
    text = run[0].replace(b"-", b"+").replace(b"_", b"/")
    for shift in range(4):
        rest = text[shift:]
        usable = len(rest) - (len(rest) % 4 == 1)
        size = begun_at_end(a2b_base64(rest[:usable] + b"=" * (-usable % 4)), known.values)
        if size >= _EVIDENCE:
            yield min(len(text), (size + 2) * 4 // 3 + 3), size
    digits = _HEX_TAIL.search(tail)
    if digits is not None:
        for cut in (0, 1):
            usable_digits = digits[0][: len(digits[0]) - cut]
            size = begun_at_end(a2b_hex(usable_digits[len(usable_digits) % 2 :]), known.values)
            if size >= _EVIDENCE:
                yield min(len(digits[0]), 2 * size + 2), size
