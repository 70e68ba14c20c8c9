"""Dumps of characters, as `od -c`, `od -a` and `hexdump -c` print them, and where any dump goes on."""

from __future__ import annotations

import binascii
from collections.abc import Iterator
from functools import cache

from strongroom.masking.compiled_later import compiled_later
from strongroom.masking.origins import Joined, View

__all__ = ["ADDRESS_END", "DUMP", "characters", "characters_at", "dumped_at_end", "in_several_forms"]

ADDRESS_END = b"0   "
"""An address, which is a multiple of 16, and the blanks before a character of ASCII."""
DUMP = b"\n0000000 "
"""The first address, at the beginning of a line: elsewhere text is full of zeros."""

_FIRST = DUMP[1:]
_SHORTEST_ADDRESS, _LONGEST_ADDRESS = 5, 8
_LONGEST_LINE = 128
_LONGEST_CELL = 5
"""A cell, and its part of the line end."""
_CELL = (
    rb"(?: {3}(?:[ -~]|[\xc2-\xf4][\x80-\xbf]{1,3})|  (?:\\[0abtnvfr]|[a-z]{2}|\*\*)| (?:[0-7]{3}|[a-z]{3}))"
)
# What a cut leaves of the last cell comes again, with the rest of it.
# A cell may be blank, too: of lines without bounds each blank would be tried as both.
_LINE = compiled_later(rb"[0-9a-f]{6,8}((?:" + _CELL + rb"){1,256})[ \\]{0,80}(?:\r?\n|\Z)")
_BARE_LINE = compiled_later(rb"(?:" + _CELL + rb"){1,64}[ \\]{0,80}(?:\r?\n|\Z)")
_CELLS = compiled_later(_CELL)
_ADDRESS = compiled_later(rb"[0-9a-f]{6,8}(?= )")
_ROW = compiled_later(rb"( [^\n]{1,1024})(?:\n|\Z)")
_REPEATED = b"*\n"
"""Stands for lines that are the same as the one before."""
_ESCAPED = {b"0": 0, b"a": 7, b"b": 8, b"t": 9, b"n": 10, b"v": 11, b"f": 12, b"r": 13}
_NAMES = (
    b"nul soh stx etx eot enq ack bel bs ht nl vt ff cr so si dle dc1 dc2 dc3 dc4 nak syn etb can em sub esc"
    b" fs gs rs us sp"
)


@cache
def _bytes_of_cells() -> dict[bytes, bytes]:
    cells = {b"%03o" % byte: bytes([byte]) for byte in range(256)}
    cells |= {b"\\" + sign: bytes([byte]) for sign, byte in _ESCAPED.items()}
    cells |= {name: bytes([byte]) for byte, name in enumerate(_NAMES.split())}
    return cells | {b"lf": b"\n", b"del": b"\x7f", b"**": b""}


def characters(data: bytes) -> Iterator[View]:
    """Yield what the dumps of characters in `data` show, even if their beginning is missing."""
    known = _bytes_of_cells()
    done = 0
    for sign in (_FIRST, ADDRESS_END):
        at = data.find(sign)
        while at >= 0:
            begin = at if sign is _FIRST else _begin_of_address(data, at)
            if begin >= done and _LINE.match(data, begin):
                pieces: list[bytes] = []
                spans: list[tuple[int, int]] = []
                for start, stop in _lines(data, _first_line(data, begin, done)):
                    for cell in _CELLS.finditer(data, start, stop):
                        text = cell[0]
                        pieces.append(known.get(text.strip(), text[3:]))
                        spans.append((cell.start() + len(text) - len(text.lstrip()), cell.end()))
                    done = stop
                yield View(b"".join(pieces), Joined(pieces, spans), "apart")
            at = data.find(sign, max(at + len(sign), done))


def characters_at(data: bytes, at: int, most: int) -> View | None:
    """Return what the dump shows whose lines have no addresses and of which one holds the place `at`.

    Of the lines before and behind it so many are read as hold `most` bytes.
    """
    begin = _begin_of_line(data, at)
    if begin < 0:
        return None
    low = max(0, begin - most * _LONGEST_CELL)
    while begin > low:
        before = _begin_of_line(data, begin - 1)
        line = _BARE_LINE.match(data, before, begin) if before >= low else None
        if line is None or line.end() != begin:
            break
        begin = before
    known = _bytes_of_cells()
    pieces: list[bytes] = []
    spans: list[tuple[int, int]] = []
    end = at + most * _LONGEST_CELL
    while begin < end and (row := _BARE_LINE.match(data, begin)) is not None:
        for cell in _CELLS.finditer(data, begin, row.end()):
            text = cell[0]
            pieces.append(known.get(text.strip(), text[3:]))
            spans.append((cell.start() + len(text) - len(text.lstrip()), cell.end()))
        begin = row.end()
    return View(b"".join(pieces), Joined(pieces, spans), "apart") if pieces else None


def in_several_forms(data: bytes) -> Iterator[View]:
    """Yield what dumps hold that show each line in several forms, one in a row, such as those of `od -bc`.

    Only the first form of a line has its address, or each has the same. Where a value is in one form, all go.
    """
    begin = 0 if data.startswith(_FIRST) else _first_address(data, 0)
    while begin >= 0:
        lines: list[list[tuple[int, int]]] = []
        done = begin + len(_FIRST)
        while len(rows := list(_rows(data, begin))) > 1 and (not lines or len(rows) == len(lines[0])):
            lines.append(rows)
            done = begin = rows[-1][1] + 1
            begin += len(_REPEATED) if data.startswith(_REPEATED, begin) else 0
        spans = [(rows[0][0], rows[-1][1]) for rows in lines]
        for form in zip(*lines, strict=True):
            pieces = [_bytes_of_row(data[start:stop]) for start, stop in form]
            if all(pieces):
                yield View(b"".join(pieces), Joined(pieces, spans), "apart")
        begin = _first_address(data, done - 1)


def _first_address(data: bytes, low: int) -> int:
    """Return where the next dump from `low` on begins; -1 where none does."""
    at = data.find(DUMP, low)
    return at + 1 if at >= 0 else -1


def _rows(data: bytes, begin: int) -> Iterator[tuple[int, int]]:
    """Yield from where to where the forms of the line of a dump are whose address is at `begin`."""
    address = _ADDRESS.match(data, begin)
    while address is not None and (row := _ROW.match(data, begin + len(address[0]))) is not None:
        yield row.span(1)
        begin = row.end()
        if not data.startswith((address[0], b" " * len(address[0])), begin):
            return


def _bytes_of_row(row: bytes) -> bytes:
    """Return what a row of a dump shows as characters, or octal or hexadecimal digits; nothing of others."""
    cells = row.rstrip()
    if _BARE_LINE.fullmatch(cells):
        known = _bytes_of_cells()
        return b"".join(known.get(cell.strip(), cell[3:]) for cell in _CELLS.findall(cells)) or b""
    words = cells.split()
    if any(len(word) != len(b"ff") for word in words):
        return b""
    try:
        return binascii.a2b_hex(b"".join(words))
    except binascii.Error:
        return b""


def _begin_of_address(data: bytes, end: int) -> int:
    """Return where the line begins whose address ends at `end`; -1 where none does."""
    if not data[max(0, end - _SHORTEST_ADDRESS) : end].isalnum():  # as at nearly all places
        return -1
    begin = data.rfind(b"\n", max(0, end - _LONGEST_ADDRESS), end)
    return -1 if begin < 0 and end >= _LONGEST_ADDRESS else begin + 1


def _first_line(data: bytes, begin: int, low: int) -> int:
    """Return where the dump begins of which a line begins at `begin`; not before `low`."""
    while begin > low:
        before = _begin_of_line(data, begin - 1)
        line = _LINE.match(data, before, begin) if before >= low else None
        if before < low or (data[before:begin] != _REPEATED and (line is None or line.end() != begin)):
            break
        begin = before
    return begin


def _begin_of_line(data: bytes, at: int, longest: int = _LONGEST_LINE) -> int:
    """Return where the line begins that holds the place `at`; -1 where that is more than `longest` before."""
    low = max(0, at - longest)
    begin = data.rfind(b"\n", low, at)
    return -1 if begin < 0 and low else begin + 1


def _lines(data: bytes, begin: int) -> Iterator[tuple[int, int]]:
    """Yield from where to where the cells of each line are."""
    while True:
        line = _LINE.match(data, begin)
        if line is not None:
            yield line.span(1)
            begin = line.end()
        elif data.startswith(_REPEATED, begin):
            begin += len(_REPEATED)
        else:
            return


# --- where a dump goes on ---

_WORD = rb"(?:0[xX])?[0-9a-fA-F]{2,22}(?![^\s,\]}])"
# A line of an address and two cells or words; of cells or numbers alone; of a place and what is there, as
# PHP prints it; or of what uuencode writes.
_OF_DUMPS = compiled_later(
    rb"[ \t]{0,12}(?:0x)?[0-9a-fA-F]{4,16}:?(?:[ \t-]{1,9}(?:" + _WORD + rb"|[^\s]{1,3}(?!\S))){2}"
    rb"|(?: {7})?(?:" + _CELL + rb"){8,}(?:[ \\]*(?:\r?\n|\Z)| {1,2}[a-z0-7]{1,2}\Z)"
    rb"| {7}(?:" + _CELL + rb"){0,8} {0,3}[a-z0-7\\]{0,2}\Z"
    rb"| {7}(?:" + _CELL + rb"){1,64} {0,99}>[^\n]{0,64}(?:\n|\Z)"
    rb"|0{7,8}(?: {1,3}[^\s]{0,3})? *\Z"
    rb"|[ \t]{0,16}(?:- )?-?(?:0[xX])?[0-9a-fA-F]{1,3},?\s*\Z"
    rb"|(?:\||\xe2\x94\x82)[0-9a-fA-F]{4,16}(?:\||\xe2\x94?\x82?)"
    rb"|[ \t]{0,12}0x[0-9a-fA-F]{4,16}(?: <[^>\n]{0,80})?(?:>?:?\s*\Z|>?:\t)"
    rb"|[ \t]{0,24}(?:\[[0-9]{1,7}\]?|[0-9]{1,7}) ?(?:=(?:>[^\n]{0,6})?)?\s*\Z"
    rb"|[ \t]{1,24}(?:string\([1-4]\) \"[^\n]{1,5}|int\([0-9]{1,3}\))\s*\Z"
    rb"|[0-9a-fA-FxX,{}\[ \t-]{20,}\s*\Z|M[ -`]{60}\s*\Z|M[ -`]{8,59}\Z|begin [0-7]{3,4} [^\n]*\n\Z|\*\n\Z"
)
_BYTES = compiled_later(rb"(?<![0-9A-Za-z])(?:[0-9a-fA-F]{2} ){3}")
_LONGEST_HELD_LINE = 512


def dumped_at_end(data: bytes, most: int) -> int:
    """Return how many bytes at the end of `data` are lines of a dump that may go on.

    They are `most`, or a line more.
    """
    size = held = len(data)
    begin = _begin_of_line(data, size, _LONGEST_HELD_LINE)
    if 0 <= begin < size and _may_go_on(data, begin, size):
        held = begin
    # What has come of the last line may be too short to tell.
    while begin > 0 and size - begin < most:
        before = _begin_of_line(data, begin - 1, _LONGEST_HELD_LINE)
        if before < 0 or not _may_go_on(data, before, begin):
            break
        held = begin = before
    return size - held


def _may_go_on(data: bytes, begin: int, end: int) -> bool:
    """Return whether the line at `begin` may be one of a dump, perhaps behind other text."""
    if _OF_DUMPS.match(data, begin, end) is not None:
        return True
    # Of other lines few have two blanks in a row, as there are before the text beside the bytes.
    return data.find(b"  ", begin, end) >= 0 and _BYTES.search(data, begin, end) is not None
