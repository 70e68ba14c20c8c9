"""Tables for a terminal, which fit its width and show every cell whole."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

__all__ = ["drawn_table"]

_GAP = "  "
_NARROWEST = 10
_WORD = re.compile(r"[^ /\-,]+[/\-,]?")
_BOLD, _PLAIN = "\x1b[1m", "\x1b[0m"


def drawn_table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], *, columns: int, bold: bool
) -> Iterator[str]:
    """Yield the lines of a table that is at most `columns` wide: long cells take several lines.

    If not even that fits, each row becomes a block with a line for each cell.
    """
    body = [[_visible(cell) for cell in row] for row in rows]
    widths = [max(map(_width, column)) for column in zip(headings, *body, strict=True)]
    free = columns - len(_GAP) * (len(widths) - 1)
    if sum(widths) > free:
        narrowed = _narrowed(list(zip(headings, *body, strict=True)), widths, free)
        if narrowed is None:
            yield from _blocks(headings, body, columns, bold=bold)
            return
        widths = narrowed
    head = _joined(headings, widths)
    yield f"{_BOLD}{head}{_PLAIN}" if bold else head
    for row in body:
        cells = [_wrapped(cell, width) for cell, width in zip(row, widths, strict=True)]
        for at in range(max(map(len, cells))):
            yield _joined([cell[at] if at < len(cell) else "" for cell in cells], widths)


def _narrowed(columns: Sequence[Sequence[str]], widths: Sequence[int], free: int) -> list[int] | None:
    """Return widths whose sum is at most `free`, the widest ones made equal; None if they are too narrow.

    Columns are not made narrower than their longest word, unless nothing else fits: those of prose first.
    """
    words = [_longest_word(column) for column in columns]
    names = [
        0 if any(" " in cell for cell in column) else word
        for column, word in zip(columns, words, strict=True)
    ]
    for floors in (words, names, [0] * len(widths)):
        limit = max(widths)
        while limit >= _NARROWEST:
            narrowed = [min(width, max(limit, floor)) for width, floor in zip(widths, floors, strict=True)]
            if sum(narrowed) <= free:
                return narrowed
            limit -= 1
    return None


def _longest_word(cells: Iterable[str]) -> int:
    return max((_width(word) for cell in cells for word in _WORD.findall(cell)), default=0)


def _blocks(
    headings: Sequence[str], rows: Sequence[Sequence[str]], columns: int, *, bold: bool
) -> Iterator[str]:
    first = max(map(_width, headings))
    for number, row in enumerate(rows):
        if number:
            yield ""
        for heading, cell in zip(headings, row, strict=True):
            start = heading + " " * (first - _width(heading))
            for part in _wrapped(cell, max(columns - first - len(_GAP), 1)):
                yield f"{f'{_BOLD}{start}{_PLAIN}' if bold else start}{_GAP}{part}".rstrip()
                start = " " * first


def _joined(cells: Sequence[str], widths: Sequence[int]) -> str:
    return _GAP.join(
        cell + " " * (width - _width(cell)) for cell, width in zip(cells, widths, strict=True)
    ).rstrip()


def _wrapped(text: str, width: int) -> list[str]:
    """Return `text` in pieces of at most `width`, broken at a blank, or behind one of `/-,`, if it can be."""
    pieces: list[str] = []
    while _width(text) > width:
        end, taken = 0, 0
        while end < len(text) and taken + _width(text[end]) <= width:
            taken += _width(text[end])
            end += 1
        end = max(end, 1)
        breaks = [at for at in range(end // 2, end) if text[at] in " /-,"]
        if text[end] != " " and breaks:
            end = breaks[-1] + 1
        pieces.append(text[:end].rstrip())
        text = text[end:].lstrip()
    return [*pieces, text]


def _width(text: str) -> int:
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return len(text) + wide - sum(unicodedata.combining(character) != 0 for character in text)


def _visible(text: str) -> str:
    """Return `text` with control characters escaped as in Python, so that the terminal does not obey them."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )
