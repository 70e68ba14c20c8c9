"""Finds values with the same separator between all characters: `k 3 J x`, or a character a line.

A line may end at a separator that has a blank, and a character may be in quotes or braces of its own.
"""

from __future__ import annotations

from functools import lru_cache

from strongroom.masking.alignment import extend_left, extend_right
from strongroom.masking.compiled_later import compiled_later
from strongroom.masking.dumps import characters_at
from strongroom.masking.steps import shown, width
from strongroom.runtime.frozen import NamedTuple

__all__ = [
    "OF_CELLS",
    "OF_LINES",
    "SEPARATORS",
    "Spread",
    "cells_reach",
    "followed_apart",
    "followed_in_cells",
    "followed_on_lines",
    "spreads",
]

SEPARATORS = (b" ", b"\n", b"  ", b", ", b"\\\n", b"\r\n", b",", b'","', b'", "', b'",\n  "')
OF_CELLS = b"   "
"""Stands between two characters in a dump without addresses, as `od -An -c` prints it."""
OF_LINES = b",\n"
"""Stands between two characters of which each is in quotes on a line of its own, however far indented."""
_ON_LINE = tuple(quote + b"%b" + quote + OF_LINES for quote in (b"'", b'"'))
_LINE = compiled_later(
    rb"[ \t\[({]{0,40}(?P<quote>['\"])(?P<item>\\(?:[^\n'\"]{1,9}|['\"])|[^\n\\]{1,4}?)(?P=quote)"
    rb"(?:,?\r?\n|,?[\])}]?)"
)
_LONGEST_LINE = 56
_LONGEST_ROW = 16
_CELL = 4
_FOLLOWED = 6  # characters in cells, so that a table of zeros is not followed from each
_MOST_DUMPED = 4096
_SIGNS = b"!#$%&()*+-./:;<=>?@[]^_`{|}~"  # what lists of characters show as it is
_SHOWN = 3
"""So many characters, with a separator behind each, are looked for."""
_THREE_LETTERS = compiled_later(rb"[A-Za-z]{3}(?=[^\n])")
_DROPPED = b" \t\r\n"
_LONGEST_SHOWN = 24
# Behind the last character is only a separator that is a single byte.
_WITH_ENDS = [(one, one if len(one) == 1 else b"") for one in (*SEPARATORS, OF_CELLS)]
_LEAST = 8
_WITH_BLANK = (b" ", b"  ", b", ")
_INDENTED = compiled_later(rb"[ \t]{1,24}")
_BLANK_IN_BRACES = b"{ }"  # in a list of Tcl


class Spread(NamedTuple):
    """Which characters of a value are looked for, from `offset` on, and the separator between them."""

    offset: int
    separator: bytes


def spreads(raw: bytes) -> list[tuple[bytes, Spread]]:
    """Return what is looked for of a value whose characters are apart."""
    if len(raw) < _LEAST:
        return []
    # YAML puts digits in quotes.
    letters = _THREE_LETTERS.search(raw)
    offset = _next_run(raw, 0) if letters is None else letters.start()
    if offset < 0:
        offset = _next_run(raw, 0, _SIGNS)
    if offset < 0:
        return []
    chars = _characters(raw, offset)
    patterns = [separator.join(chars) + end for separator, end in _WITH_ENDS]
    looked_for = [*zip(patterns, _spreads_at(offset), strict=True)]
    other = _next_run(raw, offset + _SHOWN)  # as the first may be where a row ends
    if other >= 0:
        looked_for.append((OF_CELLS.join(_characters(raw, other)), _spreads_at(other)[-1]))
    # One character alone, and not of all values the first one: values of a kind begin alike.
    alone = offset + sum(raw) % _SHOWN
    on_lines = _on_lines_at(alone)
    looked_for += [(line % raw[alone : alone + 1], on_lines) for line in _ON_LINE]
    return looked_for


@lru_cache(64)
def _on_lines_at(offset: int) -> Spread:
    return Spread(offset, OF_LINES)


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
    at, place, count, end = start, offset, 0, start
    while place < len(raw):
        behind, beyond = _next_separator(data, at, separator)
        size, stop = _matched_character(data, at, behind, raw, place)
        if not size:
            if raw[place] not in _DROPPED:
                break
            place += 1
            continue
        place, count, end = place + size, count + 1, stop
        if stop != behind:
            if not data.startswith(separator, stop):
                break
            beyond = stop + len(separator)
        at = beyond
    begin, place = start, offset
    while place:
        previous = place - 1
        while previous and raw[previous] & 0xC0 == 0x80:  # noqa: PLR2004  # within a character
            previous -= 1
        char = raw[previous:place]
        low = _begin_of_character(data, _end_before(data, begin, separator), char)
        if low >= 0:
            begin, count = low, count + 1
        elif char not in _DROPPED:
            break
        place = previous
    return begin, end, count


def _next_separator(data: bytes, at: int, separator: bytes) -> tuple[int, int]:
    """Return where the separator behind `at` begins and where it ends; -1 where there is none.

    One that has a blank may be where a line ends.
    """
    end = at + _LONGEST_SHOWN
    behind = data.find(separator, at + 1, end)
    if separator in _WITH_BLANK:
        broken = separator.rstrip() + b"\n"
        line_end = data.find(broken, at + 1, end if behind < 0 else behind)
        if line_end >= 0:
            line = line_end + len(broken)
            indented = _INDENTED.match(data, line)
            return line_end, line if indented is None else indented.end()
    return behind, behind + len(separator)


def _end_before(data: bytes, begin: int, separator: bytes) -> int:
    """Return where the character ends that is before `begin`, with a separator between; -1 where none is."""
    if begin and data.endswith(separator, 0, begin):
        return begin - len(separator)
    if separator in _WITH_BLANK:
        line = data.rfind(b"\n", max(0, begin - _LONGEST_SHOWN), begin)
        broken = separator.rstrip() + b"\n"
        if line >= 0 and not data[line:begin].strip() and data.endswith(broken, 0, line + 1):
            return line + 1 - len(broken)
    return -1


def _begin_of_character(data: bytes, end: int, char: bytes) -> int:
    """Return where `char` begins that ends at `end`, as it is, behind a backslash or in quotes; or -1."""
    if end > 0:
        for text in (b"\\" + char, char, *(_wrapped(char))):
            if data.endswith(text, 0, end):
                return end - len(text)
    return -1


def _wrapped(char: bytes) -> tuple[bytes, bytes, bytes]:
    return b"'%b'" % char, b'"%b"' % char, b"{%b}" % char


def followed_on_lines(data: bytes, start: int, raw: bytes, spread: Spread) -> tuple[int, int, int]:
    """Return what `followed_apart` does where each character is in quotes on a line of its own."""
    offset = spread.offset
    begin = data.rfind(b"\n", max(0, start - _LONGEST_LINE), start) + 1
    if not begin and start > _LONGEST_LINE:
        return start, start, 0
    first, last, count = start, start, 0
    at, place = begin, offset
    while place < len(raw) and (line := _LINE.match(data, at)) is not None:
        size, item = width(raw, place), line["item"]
        if shown(item, 0, raw[place : place + size]) != len(item):
            break
        place, count, last, at = place + size, count + 1, line.end("item") + 1, line.end()
    at, place = begin, offset
    while at and place:
        before = data.rfind(b"\n", max(0, at - 1 - _LONGEST_LINE), at - 1) + 1
        previous = place - 1
        while previous and raw[previous] & 0xC0 == 0x80:  # noqa: PLR2004  # within a character
            previous -= 1
        line = _LINE.match(data, before, at)
        if line is None or line.end() != at:
            break
        item = line["item"]
        if shown(item, 0, raw[previous:place]) != len(item):
            break
        place, count, first, at = previous, count + 1, line.start("quote"), before
    return first, last, count


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
        if shown(piece, 0, char) == len(piece) or piece in _wrapped(char):
            return size, behind
        if data.startswith(_BLANK_IN_BRACES, at) and char == b" ":
            return size, at + len(_BLANK_IN_BRACES)
        byte = char[:1]
        if piece in {byte, b"\\%03o" % byte[0], b"\\x%02x" % byte[0]}:
            return 1, behind  # a program that knows bytes alone
    # The last one: the next separator belongs to what follows the value, if there is one at all.
    stop = shown(data, at, char)
    return (0, at) if stop is None else (size, stop)
