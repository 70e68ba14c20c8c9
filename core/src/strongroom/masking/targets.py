"""The patterns by which a value is looked for, and how it is followed from where one of them is."""

from __future__ import annotations

import re

from strongroom.masking.alignment import extend_left, extend_right
from strongroom.masking.anchors import WINDOW, anchors, has_window, is_generated, letters, written_anchors
from strongroom.masking.apart import (
    OF_CELLS,
    OF_LINES,
    Spread,
    cells_reach,
    followed_apart,
    followed_in_cells,
    followed_on_lines,
    spreads,
)
from strongroom.masking.compiled_later import compiled_later
from strongroom.masking.encodings import forms
from strongroom.masking.limits import ENOUGH
from strongroom.masking.steps import escape_end
from strongroom.runtime.frozen import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "Apart",
    "Form",
    "Occurrence",
    "Target",
    "Value",
    "Window",
    "count_characters",
    "is_plain_word",
    "patterns_of",
]

_LONGEST_IN_FORMS = 16
"""Values of up to so many characters are looked for in all their forms, which are too short for a view."""
_LONGEST_WITHOUT_WINDOW = 64
"""So are values up to here without a run of letters and digits that is worth looking for."""
_LONGEST_PLAIN = 12
_IS_LETTER = compiled_later(rb"[A-Za-z0-9\xc0-\xff]")  # what `letters` counts
_LONGEST_BEGINNING = 64
_CONTINUING = bytes(range(0x80, 0xC0))  # the bytes that continue a character of UTF-8


class Occurrence(NamedTuple):
    """One find: where it begins and ends, the label of its value, and the encoding of the value there."""

    start: int
    stop: int
    label: Any
    encoding: str


class Value:
    """A value that is looked for."""

    __slots__ = ("_hopeless", "count", "label", "only", "raw", "word")

    def __init__(self, raw: bytes, label: Any, only: re.Pattern[bytes] | None) -> None:
        self.raw = raw
        self.label = label
        self.count = letters(raw)
        self.only = only
        self.word = is_plain_word(raw)
        self._hopeless: dict[int, bool] = {}

    def is_hopeless(self, last: int) -> bool:
        """Return whether nothing that ends at `last`, before the value's end, can be a find.

        So it is while letters are missing behind, and before it are too few. Ordinary text that has a run of
        the value ends where most such text does; what precedes it need not be followed.
        """
        if self.count >= ENOUGH and last > _LONGEST_BEGINNING:
            return False
        hopeless = self._hopeless.get(last)
        if hopeless is None:
            part = self.raw[:last]
            few = self.count < ENOUGH or not (
                letters(part) >= ENOUGH or any(is_generated(part[first:]) for first in range(last))
            )
            hopeless = few and _IS_LETTER.search(self.raw, last) is not None
            self._hopeless[last] = hopeless
        return hopeless


class Form(NamedTuple):
    """A whole value in an encoding, found as it is."""

    label: Any
    encoding: str
    whole_token: bool


class Window(NamedTuple):
    """A run of letters and digits of a value, from which it is followed to both sides."""

    value: Value
    offset: int
    written: bool = False
    """Whether only the first byte of what is found is certainly the value's, as it is."""

    def find(self, data: bytes, start: int, stop: int) -> Occurrence | None:
        value, offset, written = self
        if written:
            stop = start + 1
        begin = start - offset
        if begin >= 0 and data.startswith(value.raw, begin):
            end = escape_end(data, begin + len(value.raw))
            return Occurrence._make((begin, end, value.label, "plain"))
        met = _extent(data, start, stop, self)
        return None if met is None else Occurrence(*met, value.label, "escaped")


class Apart(NamedTuple):
    """Some characters of a value with a separator between them, from which it is followed."""

    value: Value
    spread: Spread

    def is_through(self, start: int, through: dict[Apart, int]) -> bool:
        """Return whether what starts there was looked through with an earlier one, as in a table of zeros."""
        if self.spread.separator is not OF_CELLS:
            return False
        if start < through.get(self, 0):
            return True
        through[self] = start + cells_reach(self.value.raw)
        return False

    def find(self, data: bytes, start: int, _stop: int) -> Occurrence | None:
        raw = self.value.raw
        follow = _FOLLOWERS.get(self.spread.separator, followed_apart)
        begin, end, count = follow(data, start, raw, self.spread)
        whole = count == count_characters(raw)
        return Occurrence(begin, end, self.value.label, "apart") if whole or count >= ENOUGH else None


_FOLLOWERS = {OF_CELLS: followed_in_cells, OF_LINES: followed_on_lines}

Target = Form | Window | Apart


def patterns_of(text: str, value: Value) -> list[tuple[bytes, Target]]:
    """Return what is looked for to find `text`, and what each pattern stands for."""
    raw = value.raw
    wanted: list[tuple[bytes, Target]] = []
    runs = list(anchors(raw))
    hard = len(text) <= _LONGEST_WITHOUT_WINDOW and not has_window(raw)
    if len(text) <= _LONGEST_IN_FORMS or hard or not runs:
        for form, encoding in forms(text, counts=_no_line).items():
            if len(form) < WINDOW and encoding != "plain" and value.word:
                continue
            wanted.append((form, Form(value.label, encoding, value.word and encoding == "plain")))
    if not value.word:
        # `_make` takes half the time, and of some values there are thousands.
        wanted += [(raw[start:stop], Window._make((value, start, False))) for start, stop in runs]
        wanted += ((pattern, Window(value, at, written=True)) for pattern, at in written_anchors(raw))
    wanted += [(pattern, Apart._make((value, spread))) for pattern, spread in spreads(raw)]
    return wanted


def is_plain_word(raw: bytes) -> bool:
    """Return whether `raw` looks like an ordinary word: few letters, nothing else, in one case pattern."""
    return len(raw) <= _LONGEST_PLAIN and raw.isalpha() and (raw.islower() or raw.isupper() or raw.istitle())


def _no_line(_line: str) -> bool:
    return False


def count_characters(data: bytes) -> int:
    """Return how many characters of UTF-8 are in `data`, not counting one whose first byte is before it."""
    return len(data.translate(None, _CONTINUING))


def _extent(data: bytes, start: int, stop: int, window: Window) -> tuple[int, int] | None:
    """Return where the value whose `window` is at `start` begins and ends; None if too little is there."""
    value, offset, _ = window
    raw = value.raw
    right, last = extend_right(data, stop, raw, offset + stop - start)
    if last < len(raw) and value.is_hopeless(last):
        return None
    left, first = extend_left(data, start, raw, offset)
    part = raw[first:last]
    shown = letters(part)
    if first == 0 and last == len(raw):
        return left, right
    if value.only is not None and not _holds_enough_of_only(value, first, last):
        return None
    # All letters and digits are enough: some encoders drop other characters.
    if shown >= ENOUGH or (shown == value.count and shown >= WINDOW) or is_generated(part):
        return left, right
    return None


def _holds_enough_of_only(value: Value, first: int, last: int) -> bool:
    assert value.only is not None  # noqa: S101  # the caller asked
    return any(
        min(last, match.end()) - max(first, match.start()) >= min(ENOUGH, match.end() - match.start())
        for match in value.only.finditer(value.raw)
    )
