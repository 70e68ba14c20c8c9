"""Dumps of characters, as `od -c`, `od -a` and `hexdump -c` print them, and where any dump goes on."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from strongroom.masking.compiled_later import compiled_later
from strongroom.masking.origins import Joined, View

__all__ = [
    "ADDRESS_END",
    "DUMP",
    "LONGEST_ROW",
    "begin_of_line",
    "block_at",
    "characters",
    "characters_at",
    "dumped_at_end",
    "in_several_forms",
]

Reading = tuple[int, int]
"""How a row is read: as numbers of a base, or as cells of characters (0); and how wide each of them is."""

ADDRESS_END = b"0   "
"""An address, which is a multiple of 16, and the blanks before a character of ASCII."""
DUMP = b"\n0000000 "
"""The first address, at the beginning of a line: elsewhere text is full of zeros."""

_FIRST = DUMP[1:]
_SHORTEST_ADDRESS, _LONGEST_ADDRESS = 5, 8
_LONGEST_LINE = 128
LONGEST_ROW = 1024
_MOST_FORMS = 4
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
_WIDE_CELL = rb" " + _CELL  # beside signed numbers
_ROWS_OF_CELLS = (
    (4, _BARE_LINE, _CELLS),
    (5, compiled_later(rb"(?:" + _WIDE_CELL + rb"){1,64} {0,80}"), compiled_later(_WIDE_CELL)),
)
_BYTES_IN_FIELD = {wide: size for size in (1, 2, 4, 8) for wide in range(3 * size, 5 * size + 1)}
"""How many bytes are in a word, by how many characters there are for it: 3 to 5 for each byte."""
_SEVEN_BITS = bytes(byte & 0x7F for byte in range(256))
_BENEATH = b"      "
"""Beneath the shortest address, where the same bytes follow in another form."""
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
            line = _LINE.match(data, begin) if begin >= done else None
            if line is not None and data.startswith(_BENEATH, line.end()):
                views, done = in_several_forms(data, begin)
                yield from views
            if line is not None and begin >= done:
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
    begin = begin_of_line(data, at)
    if begin < 0:
        return None
    low = max(0, begin - most * _LONGEST_CELL)
    end = at + most * _LONGEST_CELL
    several = block_at(data, begin)
    if several >= 0:
        several = _first_block(data, several, low)
        views, stop = in_several_forms(data, several, end)
        while several < stop <= at:  # of the dump before
            several = stop
            views, stop = in_several_forms(data, several, end)
        if stop > at:
            return views[0]
    while begin > low:
        before = begin_of_line(data, begin - 1)
        line = _BARE_LINE.match(data, before, begin) if before >= low else None
        if line is None or line.end() != begin:
            break
        begin = before
    known = _bytes_of_cells()
    pieces: list[bytes] = []
    spans: list[tuple[int, int]] = []
    while begin < end and (row := _BARE_LINE.match(data, begin)) is not None:
        for cell in _CELLS.finditer(data, begin, row.end()):
            text = cell[0]
            pieces.append(known.get(text.strip(), text[3:]))
            spans.append((cell.start() + len(text) - len(text.lstrip()), cell.end()))
        begin = row.end()
    return View(b"".join(pieces), Joined(pieces, spans), "apart") if pieces else None


def block_at(data: bytes, at: int) -> int:
    """Return where the rows begin that show the same bytes as the one at `at`; -1 where it is alone."""
    begin = at
    for _ in range(_MOST_FORMS):
        rows = list(_rows(data, begin))
        if len(rows) > 1 and rows[-1][1] > at and any(_readings_of_row(data[slice(*row)]) for row in rows):
            return begin
        begin = begin_of_line(data, begin - 1, LONGEST_ROW) if begin else -1
        if begin < 0:
            break
    return -1


def _first_block(data: bytes, begin: int, low: int) -> int:
    """Return where the dump begins of which some rows begin at `begin`; not before `low`."""
    count = len(list(_rows(data, begin)))
    while True:
        before = begin
        for _ in range(count):
            before = begin_of_line(data, before - 1, LONGEST_ROW) if before > 0 else -1
        rows = list(_rows(data, before)) if before >= low else []
        if len(rows) != count or rows[-1][1] + 1 != begin:
            return begin
        begin = before


def in_several_forms(data: bytes, begin: int, most: int | None = None) -> tuple[list[View], int]:
    """Return what the dump holds that begins at `begin` and shows each line in several forms, and its end.

    Of other dumps there is nothing, and `begin`. No line behind `most` is read. Where a value is in one form,
    all of them go.
    """
    end = begin
    most = len(data) if most is None else most
    lines: list[list[dict[Reading, bytes]]] = []
    spans: list[tuple[int, int]] = []
    readings: list[set[Reading]] = []  # of each form, those in which every row of it can be read
    while end < most and len(rows := list(_rows(data, end))) > 1:
        read = [_readings_of_row(data[start:stop]) for start, stop in rows]
        before = readings or [set(row) for row in read]
        left = [row.keys() & possible for row, possible in zip(read, before, strict=False)]
        if len(read) != len(before) or not any(left) or left.count(set()) > before.count(set()):
            break
        lines.append(read)
        readings = left
        spans.append((rows[0][0], rows[-1][1]))
        end = rows[-1][1] + 1
        end += len(_REPEATED) if data.startswith(_REPEATED, end) else 0
    views: list[View] = []
    for form, possible in enumerate(readings):
        for reading in sorted(possible):
            pieces = [line[form][reading] for line in lines]
            views.append(View(b"".join(pieces), Joined(pieces, spans), "apart"))
    return views, end


def _rows(data: bytes, begin: int) -> Iterator[tuple[int, int]]:
    """Yield from where to where the forms of the line of a dump are that begins at `begin`.

    The first alone has an address, or each has the same. Without addresses, they are rows of the same bytes.
    """
    address = _ADDRESS.match(data, begin)
    margin = b"" if address is None else address[0]
    row = _ROW.match(data, begin + len(margin))
    shown = None if margin or row is None else _shown(row[1])
    for _ in range(_MOST_FORMS):
        if row is None:
            return
        yield row.span(1)
        begin, before = row.end(), row[1]
        if not data.startswith((margin, b" " * len(margin)), begin):
            return
        row = _ROW.match(data, begin + len(margin))
        if shown is None or row is None:
            continue
        if row[1] == before or shown.isdisjoint(_shown(row[1])):
            return


def _shown(row: bytes) -> set[bytes]:
    """Return what `row` may show, without the eighth bit of each byte, which `od -a` drops.

    A last word has zeros where there are no bytes.
    """
    return {read.rstrip(b"\0").translate(_SEVEN_BITS) for read in _readings_of_row(row).values()}


def _readings_of_row(row: bytes) -> dict[Reading, bytes]:
    """Return what a row of a dump may show, by how it is read."""
    known = _bytes_of_cells()
    read = {
        (0, wide): b"".join([known.get(cell.strip(), cell[wide - 1 :]) for cell in cells.findall(row)])
        for wide, line, cells in _ROWS_OF_CELLS
        if line.fullmatch(row)
    }
    words = row.split()
    wide = len(row) // len(words) if words else 0
    size = _BYTES_IN_FIELD.get(wide)
    if size is None:
        return read
    for base, digits in ((16, 2 * size), (8, -(-8 * size // 3)), (10, 0)):
        if digits and any(len(word) != digits for word in words):
            continue
        try:
            numbers = [int(word, base) for word in words]
        except ValueError:
            continue
        most = 1 << 8 * size
        if -most < 2 * min(numbers) and max(numbers) < most:
            read[base, wide] = b"".join([(number % most).to_bytes(size, "little") for number in numbers])
    return read


def _begin_of_address(data: bytes, end: int) -> int:
    """Return where the line begins whose address ends at `end`; -1 where none does."""
    if not data[max(0, end - _SHORTEST_ADDRESS) : end].isalnum():  # as at nearly all places
        return -1
    begin = data.rfind(b"\n", max(0, end - _LONGEST_ADDRESS), end)
    return -1 if begin < 0 and end >= _LONGEST_ADDRESS else begin + 1


def _first_line(data: bytes, begin: int, low: int) -> int:
    """Return where the dump begins of which a line begins at `begin`; not before `low`."""
    while begin > low:
        before = begin_of_line(data, begin - 1)
        line = _LINE.match(data, before, begin) if before >= low else None
        if before < low or (data[before:begin] != _REPEATED and (line is None or line.end() != begin)):
            break
        begin = before
    return begin


def begin_of_line(data: bytes, at: int, longest: int = _LONGEST_LINE) -> int:
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
    rb"|(?:(?:" + _CELL + rb"){8,}|(?:" + _WIDE_CELL + rb"){8,}"
    rb"| {6,8}(?:(?:"
    + _CELL
    + rb"){2,}|(?:"
    + _WIDE_CELL
    + rb"){2,}))(?:[ \\]*(?:\r?\n|\Z)| {1,3}[a-z0-7]{1,2}\Z)"
    rb"| {6,8}(?:(?:" + _CELL + rb"){0,8}|(?:" + _WIDE_CELL + rb"){0,8}) {0,4}[a-z0-7\\]{0,2}\Z"
    rb"| {7}(?:" + _CELL + rb"){1,64} {0,99}>[^\n]{0,64}(?:\n|\Z)"
    rb"|0{7,8}(?: {1,3}[^\s]{0,3})? *\Z"
    rb"|[ \t]{0,16}(?:- )?-?(?:0[xX])?(?:[0-9a-fA-F]{1,3}|(?:[0-9a-fA-F]{8}){1,2}),?\s*\Z"
    rb"|(?:\||\xe2\x94\x82)[0-9a-fA-F]{4,16}(?:\||\xe2\x94?\x82?)"
    rb"|[ \t]{0,12}0x[0-9a-fA-F]{4,16}(?: <[^>\n]{0,80})?(?:>?:?\s*\Z|>?:\t)"
    rb"|[ \t]{0,24}(?:\[[0-9]{1,7}\]?|[0-9]{1,7}) ?(?:=(?:>[^\n]{0,6})?)?\s*\Z"
    rb"|[ \t]{1,24}(?:string\([1-4]\) \"[^\n]{1,5}|int\([0-9]{1,3}\))\s*\Z"
    rb"|[0-9a-fA-FxX,{}\[ \t-]{20,}\s*\Z|M[ -`]{60}\s*\Z|M[ -`]{8,59}\Z|begin [0-7]{3,4} [^\n]*\n\Z|\*\n\Z"
)
_SHORT_ROW = compiled_later(rb"(?:(?:" + _CELL + rb"){1,7}|(?:" + _WIDE_CELL + rb"){1,7})\n")
_BYTES = compiled_later(rb"(?<![0-9A-Za-z])(?:[0-9a-fA-F]{2} ){3}")
_LONGEST_HELD_LINE = 512


def dumped_at_end(data: bytes, most: int) -> int:
    """Return how many bytes at the end of `data` are lines of a dump that may go on.

    They are `most`, or a line more.
    """
    size = held = len(data)
    short = False  # whether a line is passed over: one row of the last bytes, of which another form follows
    begin = begin_of_line(data, size, _LONGEST_HELD_LINE)
    if 0 <= begin < size and _may_go_on(data, begin, size):
        held = begin
    # What has come of the last line may be too short to tell.
    while begin > 0 and size - begin < most:
        before = begin_of_line(data, begin - 1, _LONGEST_HELD_LINE)
        if before >= 0 and _may_go_on(data, before, begin):
            held = begin = before
        elif before >= 0 and not short and _SHORT_ROW.fullmatch(data, before, begin):
            short, begin = True, before
        else:
            break
    return size - held


def _may_go_on(data: bytes, begin: int, end: int) -> bool:
    """Return whether the line at `begin` may be one of a dump, perhaps behind other text."""
    if _OF_DUMPS.match(data, begin, end) is not None:
        return True
    # Of other lines few have two blanks in a row, as there are before the text beside the bytes.
    return data.find(b"  ", begin, end) >= 0 and _BYTES.search(data, begin, end) is not None
