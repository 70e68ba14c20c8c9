"""Other readings of a text: base64 and lists of numbers decoded, colours and separators taken out.

Each knows where in the text its bytes come from. That there is nothing to read is found out at the speed of
C.
"""

from __future__ import annotations

import binascii
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import accumulate
from typing import Any

from strongroom.masking.origins import Moved, Twice, View, substituted

__all__ = ["LEAST", "NOTHING", "READINGS", "Known", "View", "views"]

READINGS = (
    ("base64", "both alphabets, at any alignment, wrapped, cut, its `+`, `/` and line ends escaped"),
    ("hex", "digits, also wrapped, in groups, with `0x`, `\\x`, `%`, colons, and dumps of od, xxd, hexdump"),
    ("numbers", "lists of bytes as decimal numbers: JSON of a node Buffer, `list(bytes)`, Go, Rust, Java"),
    ("colours", "terminal sequences, overstrikes and NUL bytes (UTF-16) taken out"),
    ("apart", "characters apart: lists of characters, `od -c`, a backslash before each"),
)
"""Every reading, for the documentation."""

LEAST = 22
"""Characters that base64 or a list has at least before it is decoded; shorter ones are looked for as such."""
_SHORT = 4096
_WORD = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_SPECIAL = b"\x1b\x08\0\\'%&"
"""Without one of these nothing is coloured, escaped or quoted."""
_MARKS = bytes(1 if byte in _WORD + b"+/-_" else 2 * (byte in _SPECIAL) for byte in range(256))
_IS_LISTED = bytes(byte in b"0123456789abcdefABCDEFxX ,:\\%\r\n[" for byte in range(256))
_RUN = b"\1" * LEAST
_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]+(?:[ \t]*\r?\n[ \t]*[A-Za-z0-9+/_-]+)*")
_BREAKS = re.compile(rb"[ \t\r\n]+")
_LISTED = re.compile(rb"[0-9a-fA-FxX ,:\\%\r\n\[]+")
_OF_TEXT = re.compile(rb"[2-7]{6}")
_NUMBER = re.compile(rb"(?:0[xX]|[xX])?([0-9a-fA-F]+)")
_TO_STANDARD = bytes.maketrans(b"-_", b"+/")
_LEAST_NUMBERS = 8
_DECIMAL = re.compile(rb"[0-9]+")
_DECIMALS = re.compile(rb"\b[0-9]{1,3}(?:[ ,\r\n]+[0-9]{1,3}\b){7,}")
_ADDRESS = 7
_LONGEST_ADDRESS = 16
_BROKEN_NUMBER = re.compile(rb"[0-9]\r?\n[0-9]")
_LINE_END = re.compile(rb"\r?\n")
_EDGE = 16  # the least that a form of 4 characters could hide in is longer with its surroundings
_GAP = b"\xff\xff\xff"
_NEVER_IN_TEXT = bytes((*range(7), *range(14, 27), 0x7F, 0xC0, 0xC1, *range(0xF5, 0x100)))


class Known:
    """Where values were found already: nothing is decoded there. Put in order when somebody asks."""

    def __init__(self, spans: Iterable[tuple[int, int]]) -> None:
        self._spans = list(spans)
        self._starts: list[int] | None = None
        self._stops: list[int] = []

    def covers(self, start: int, stop: int) -> bool:
        """Tell whether nearly all of this was found."""
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


def views(data: bytes, known: Known = NOTHING) -> Iterator[View]:
    """Yield every other reading of `data` that there is reason for."""
    marked = data.translate(_MARKS)
    if len(data) >= LEAST:
        batch = _Batch()
        for view in (*_base64(data, marked, known), *_lists(data, known)):
            if view.text:
                yield view
            else:
                batch.add(view)
        yield from batch.views()
    # A short text is looked through at once, a long one faster so.
    if b"0000000 " in data if len(data) < _SHORT else _dumps().find_matches_as_indexes(data):
        yield from _parts(_DUMPED, rb" +(?:[a-z]{2,3}(?= ))?|\s*\n[0-7]{7} *|0000000 ", data)
    if b"\2" not in marked:
        return
    if b"\x1b" in data or b"\x08" in data or b"\0" in data:
        yield from _without(_TERMINAL, data, "colours")
    if b"\\" in data:
        yield from _parts(_EACH_ESCAPED, rb"\\+", data)
    if b"'" in data and b"', '" in data:
        yield from _parts(_LIST_OF_CHARACTERS, rb"', ?'", data, more=2)
    yield from _escaped_base64(data)


@cache
def _dumps() -> Any:
    from ahocorasick_rs import BytesAhoCorasick, MatchKind  # whoever searches has loaded it

    # Six times as fast as Python, which compares at every blank.
    return BytesAhoCorasick([b"0000000 "], matchkind=MatchKind.LeftmostLongest)


_TERMINAL = re.compile(
    rb"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]{0,512}(?:\x07|\x1b\\)|\x1b[()][AB0-2]|\x1b[=>78]"
    rb"|[^\n]\x08|\0"
)
_EACH_ESCAPED = re.compile(rb"\\(?:\\*[^\n\\]\\){5,}\\*[^\n\\]")
_LIST_OF_CHARACTERS = re.compile(rb"', ?'(?:(?:\\[^\n]|[^\n\\]|\\u[0-9a-f]{4})', ?'){4,}")
_DUMPED = re.compile(rb"0000000 (?:(?: {1,7}(?:[!-~]|\\[0abtnvfr]|[0-7]{3}|[a-z]{2,3}))+\s*\n(?:[0-7]{7})?)+")
# Each begins with a single character, which Python searches for fast.
_PERCENT = re.compile(rb"%(?:25){0,2}2[BbFf]")
_SLASH = re.compile(rb"\\(?:/|u002[bBfF])")
_ENTITY = re.compile(rb"&#(?:4[37]|[xX]2[bBfF]);")
_AROUND = 1024
_ESCAPES_OF_BASE64 = re.compile(
    rb"(%(?:25){0,2}2[Bb]|\\+u002[bB]|&#(?:43|[xX]2[bB]);)|(%(?:25){0,2}2[Ff]|\\+/|\\+u002[fF]|&#(?:47|[xX]2[fF]);)"
    rb"|(\\+r\\+n|\\+n|%0[dD]%0[aA]|%0[aA])"
)


# --- base64 ---


def _base64(data: bytes, marked: bytes, known: Known) -> Iterator[View]:
    at = marked.find(_RUN)
    while at >= 0:
        # `_RUN` may begin behind the run's beginning where the run before was passed over.
        run = _BASE64.match(data, at)
        assert run is not None  # noqa: S101  # its first character is one of base64
        end = run.end()
        if not known.covers(at, end):
            text = run[0]
            # Encoded bytes have letters in both cases; paths and hexadecimal digits have not.
            if not text.islower() and not text.isupper() and not text.isdigit():
                yield from _decoded(text, at)
        at = marked.find(_RUN, end)


def _decoded(text: bytes, start: int) -> Iterator[View]:
    breaks = [match.span() for match in _BREAKS.finditer(text)] if b"\n" in text else []
    clean = _BREAKS.sub(b"", text) if breaks else text
    clean = clean.translate(_TO_STANDARD)
    pieces: list[bytes] = []
    for shift in range(4):
        usable = clean[shift : shift + (len(clean) - shift) // 4 * 4]
        rest = clean[shift + len(usable) :]
        if len(rest) > 1:
            usable += rest + b"=" * (4 - len(rest))
        pieces.append(binascii.a2b_base64(usable))
    for shift, piece in enumerate(pieces):
        origin = _OfBase64(start, shift, breaks, len(piece), len(clean))
        yield View(piece, origin, "base64", text=_is_text(piece))


class _OfBase64:
    """Where decoded bytes come from."""

    def __init__(
        self, start: int, shift: int, breaks: list[tuple[int, int]], size: int, characters: int
    ) -> None:
        self.start, self.shift, self.breaks = start, shift, breaks
        self.size, self.characters = size, characters

    def __call__(self, start: int, stop: int) -> tuple[int, int]:
        # Characters that also hold bits of the neighbours are left.
        first = self.shift - (-start * 4 // 3)
        last = self.shift + stop * 4 // 3 - 1 if stop < self.size else self.characters - 1
        return self.start + self._in_text(first), self.start + self._in_text(last) + 1

    def _in_text(self, at: int) -> int:
        for begin, end in self.breaks:
            if at < begin:
                break
            at += end - begin
        return at


def _is_text(data: bytes) -> bool:
    if data.isascii() and len(data.translate(None, _NEVER_IN_TEXT)) == len(data):
        return True
    inner = data[3:-3]  # the first and the last character may be cut
    if len(inner.translate(None, _NEVER_IN_TEXT)) != len(inner):
        return False
    try:
        inner.decode()
    except UnicodeDecodeError as error:
        return error.start < 3 and error.end - error.start < 3 and len(data) > 64  # noqa: PLR2004
    return True


class _Batch:
    """Readings that are not text, as one: a call costs more than looking through a few bytes."""

    def __init__(self) -> None:
        self._size = 0
        self._starts: list[int] = []
        self._views: list[View] = []

    def add(self, view: View) -> None:
        self._starts.append(self._size)
        self._views.append(view)
        self._size += len(view.data) + len(_GAP)

    def views(self) -> Iterator[View]:
        if self._views:
            data = _GAP.join(view.data for view in self._views)
            yield View(data, self._origin, self._views[0].encoding, text=False)

    def _origin(self, start: int, stop: int) -> tuple[int, int]:
        which = bisect_right(self._starts, start) - 1
        begin = self._starts[which]
        return self._views[which].origin(start - begin, min(stop - begin, len(self._views[which].data)))


def _escaped_base64(data: bytes) -> Iterator[View]:
    done = 0
    for escape in _places(data):
        if escape < done:
            continue
        start, done = max(done, escape - _AROUND), escape + _AROUND
        view = substituted(_ESCAPES_OF_BASE64, data[start:done], (b"+", b"/", b""))
        if view is not None:
            origin = Moved(view.origin, start)
            yield from (
                View(one.data, Twice(one.origin, origin), one.encoding, one.text)
                for one in _base64(view.data, view.data.translate(_MARKS), NOTHING)
            )


def _places(data: bytes) -> Iterator[int]:
    """Yield where `+` and `/` stand escaped."""
    for first, pattern in ((b"%", _PERCENT), (b"\\", _SLASH), (b"&", _ENTITY)):
        if first in data:
            yield from (match.start() for match in pattern.finditer(data))


# --- lists of numbers ---


def _lists(data: bytes, known: Known) -> Iterator[View]:
    marked = data.translate(_IS_LISTED)
    at = marked.find(_RUN)
    while at >= 0:
        run = _LISTED.match(data, at)
        assert run is not None  # noqa: S101  # its first character is one of a list
        end = run.end()
        if not known.covers(at, end):
            yield from _numbers(run[0], at)
        at = marked.find(_RUN, end)


def _numbers(text: bytes, start: int) -> Iterator[View]:
    if len(text.translate(None, b" \r\n,:\\%[")) < _LEAST_NUMBERS:
        return
    if text.isalnum() and b"x" not in text and b"X" not in text:
        # Of letters and digits every second digit is 3 to 7; so are few of a hash's.
        if _OF_TEXT.search(text[::2]) or _OF_TEXT.search(text[1::2]):
            yield from _digits([text], [(start, start + len(text))])
        return
    spans = []
    words: list[bytes] = []
    addressed = False
    for match in _NUMBER.finditer(text):
        word, begin = match[1], match.start(1)
        # The address at the beginning of a dump's line.
        first = begin == 0 or text[begin - 1 : begin] == b"\n"
        if (
            first
            and _ADDRESS <= len(word) <= _LONGEST_ADDRESS
            and (addressed or text[match.end() : match.end() + 1] in {b" ", b":"})
        ):
            addressed = True
            continue
        if len(word) == 1:
            continue  # a letter of the word before
        words.append(word)
        spans.append((start + begin, start + match.end()))
    if not words:
        return
    sizes = {len(word) for word in words}
    yield from _decimal_lists(text, start)
    if sizes <= {4, 2} or sizes == {6}:
        yield from _little_endian(words, spans, 16 if sizes <= {4, 2} else 8)
    yield from _digits(words, spans)


def _decimal_lists(text: bytes, start: int) -> Iterator[View]:
    for listed in _DECIMALS.finditer(text):
        yield from _decimals(listed[0], start + listed.start())
    # A line may end within a number, too.
    joined = substituted(_LINE_END, text, ()) if _BROKEN_NUMBER.search(text) else None
    if joined is None:
        return
    origin = Moved(joined.origin, start)
    for listed in _DECIMALS.finditer(joined.data):
        for view in _decimals(listed[0], listed.start()):
            yield View(view.data, Twice(view.origin, origin), view.encoding, view.text)


def _decimals(text: bytes, start: int) -> Iterator[View]:
    matches = list(_DECIMAL.finditer(text))
    spans = [(start + match.start(), start + match.end()) for match in matches]
    yield from _of_bytes([int(match[0]) for match in matches], spans, "numbers")
    if all(len(match[0]) == 3 for match in matches):  # noqa: PLR2004
        yield from _of_bytes([_octal(match[0]) for match in matches], spans, "numbers")


def _of_bytes(numbers: list[int], spans: list[tuple[int, int]], name: str) -> Iterator[View]:
    data = bytes(number if number < 256 else 255 for number in numbers)  # noqa: PLR2004
    yield View(data, lambda start, stop: (spans[start][0], spans[stop - 1][1]), name)


def _octal(word: bytes) -> int:
    try:
        return int(word, 8)
    except ValueError:
        return 255


def _little_endian(words: list[bytes], spans: list[tuple[int, int]], base: int) -> Iterator[View]:
    try:
        numbers = [int(word, base) for word in words]
    except ValueError:
        return
    data = b"".join((number & 0xFFFF).to_bytes(2, "little") for number in numbers)
    name = "hex" if base == 16 else "numbers"  # noqa: PLR2004
    yield View(data, lambda start, stop: (spans[start // 2][0], spans[(stop - 1) // 2][1]), name)


def _digits(words: list[bytes], spans: list[tuple[int, int]]) -> Iterator[View]:
    joined = b"".join(words)
    ends = list(accumulate(len(word) for word in words))

    def place(digit: int) -> int:
        which = bisect_right(ends, digit)
        return spans[which][1] - (ends[which] - digit)

    for shift in (0, 1) if len(joined) % 2 or max(map(len, words)) >= _LEAST_NUMBERS else (0,):
        digits = joined[shift : shift + (len(joined) - shift) // 2 * 2]

        def origin(start: int, stop: int, shift: int = shift) -> tuple[int, int]:
            return place(shift + 2 * start), place(shift + 2 * stop - 1) + 1

        data = binascii.a2b_hex(digits)
        yield View(data, origin, "hex", text=_is_text(data))


# --- what is taken out ---


def _without(pattern: re.Pattern[bytes], data: bytes, name: str) -> Iterator[View]:
    view = substituted(pattern, data, ())
    if view is not None:
        yield View(view.data, view.origin, name)


def _parts(region: re.Pattern[bytes], taken_out: bytes, data: bytes, more: int = 0) -> Iterator[View]:
    for match in region.finditer(data):
        start = max(0, match.start() - more)
        view = substituted(re.compile(taken_out), data[start : match.end() + more], ())
        if view is not None:
            yield View(view.data, Moved(view.origin, start), "apart")
