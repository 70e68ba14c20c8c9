"""Readings that are rare: base32, encoded words of mail, uuencode, code points, dumps, signed bytes."""

from __future__ import annotations

import binascii
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from itertools import accumulate

from strongroom.masking.compiled_later import compiled_later
from strongroom.masking.origins import Joined, Moved, Twice, Unbroken, View, is_text, substituted

__all__ = [
    "BORDERED",
    "INDEXED",
    "UUENCODED",
    "UU_LINE",
    "base32",
    "code_points",
    "dumped",
    "edited",
    "encoded_words",
    "escaped_utf16",
    "indexed",
    "joined_lines",
    "of_points",
    "signed",
    "turned",
    "unescaped",
    "uuencoded",
]

Span = tuple[int, int]
_BLANKS = b" \t\r\n"
_BREAK = compiled_later(rb"[ \t\r\n]+")
_BASE32 = compiled_later(rb"[A-Z2-7]{16,}")
_AS_DIGITS = bytes.maketrans(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", b"0123456789abcdefghijklmnopqrstuv")
"""To the digits of `int`, which reads them in linear time; `base64.b32decode` takes a step for each group."""
_GROUP = 8  # characters of base32, five bytes
_LONGEST_PLACE = 256
_HIGHEST = 0x110000
_SIGNED = compiled_later(rb"(?:-?[0-9]{1,3}[,; ]{1,2}){7,}-?[0-9]{1,3}")
_FIRST_SIGNED = compiled_later(rb"[0-9]{1,3}[,; ]")
_BEFORE_SIGNED = compiled_later(rb"(?:-?[0-9]{1,3}[,; ]{1,2})*-?\Z")
_DIGIT = compiled_later(rb"[0-9]")
_INTEGER = compiled_later(rb"-?[0-9]+")
# The prefix that a pattern begins with is what Python looks for fast.
_POINTS = tuple(
    (first, compiled_later(each + rb"(?:[ ,]{0,2}" + each + rb"){5,}"), compiled_later(each))
    for first, each in (
        (b"\\u", rb"\\{1,8}u\{?([0-9a-fA-F]{1,8})\}?"),
        (b"\\x{", rb"\\{1,8}x\{([0-9a-fA-F]{1,8})\}"),
        (b"U+", rb"U\+([0-9A-Fa-f]{4,6})(?: '(?:[^\n]{1,4}|\\[^\n]{1,9})')?"),
        (b"&#", rb"&#[xX]?([0-9a-fA-F]{1,7});"),
        (b"%u", rb"%u([0-9a-fA-F]{4})"),
    )
)


def base32(text: bytes, start: int) -> Iterator[View]:
    """Yield what `text`, a run in one case that begins at `start`, is in base32; its lines may be wrapped."""
    clean = text.translate(None, _BLANKS).upper()
    unbroken = Unbroken([match.span() for match in _BREAK.finditer(text)] if len(clean) < len(text) else [])
    for run in _BASE32.finditer(clean):
        for shift in range(_GROUP):
            usable = run[0][shift:]
            # A last group that is not whole still holds whole bytes; what fills it up is not the text's.
            usable += b"A" * (-len(usable) % _GROUP)
            data = int(usable.translate(_AS_DIGITS), 32).to_bytes(len(usable) * 5 // 8, "big")
            data = data[: (len(run[0]) - shift) * 5 // 8]

            def origin(first: int, stop: int, begin: int = run.start() + shift, end: int = run.end()) -> Span:
                last = min(end, begin - (-stop * 8 // 5)) - 1
                return start + unbroken(begin + first * 8 // 5), start + unbroken(last) + 1

            yield View(data, origin, "base32", text=is_text(data))


# Each begins with a single character, which Python searches for fast.
_ESCAPED_TWICE = tuple(
    (sign, compiled_later(pattern))
    for sign, pattern in (
        (b"%", rb"%2[Cc](?:%20|\+)?[0-9]{1,3}%2[Cc]"),
        (b"\\", rb"\\(?:x(?:2[56bBcCfF]|5[cC])|0(?:4[56]|5[347])|134|u00(?:25|2[cC]|5[cC]))"),
        (b"&", rb"&#(?:3[78]|44|92|[xX](?:2[56cC]|5[cC]));"),
    )
)
"""An escaped sign that begins an escape itself, is between the numbers of a list, or is one of base64."""
_ESCAPE = compiled_later(
    rb"(?<!\\)\\{1,16}(?:x|u00)(?P<hex>[0-9a-fA-F]{2})|(?<!\\)\\{1,16}(?P<octal>[0-3][0-7]{2})|%(?P<percent>[0-9a-fA-F]{2})"
    rb"|(?<=%2[Cc])(?P<plus>\+)|&#(?P<decimal>[0-9]{1,7});|&#[xX](?P<entity>[0-9a-fA-F]{1,6});"
)
_BROKEN_ESCAPE = compiled_later(
    rb"(?:\\(?:x?[0-9a-fA-F]?|[0-7]{2}|u0{0,2}[0-9a-fA-F]?)|%[0-9a-fA-F]?|&#?[0-9xX]{0,6})\r?\n"
)
_AROUND = 1024


def unescaped(data: bytes) -> Iterator[View]:
    """Yield the parts of `data` with escapes behind others, with one escape of each undone."""
    for start, stop in _around(_ESCAPED_TWICE, data):
        part = View(data[start:stop], Moved(_same_place, start), "escapes")
        yield from _substituted(_ESCAPE, _meant, part)
        if not _BROKEN_ESCAPE.search(part.data):
            continue
        for joined in _substituted(_LINE_END, (), part):
            yield from _substituted(_ESCAPE, _meant, joined)


def _same_place(start: int, stop: int) -> Span:
    return start, stop


BORDERED = frozenset((b"\n> ", b"\n| ", b"\\\n", b"=\n"))
"""A line end with the border of the next line, or a backslash or equals sign behind which a line goes on."""
_BEFORE_BORDERS = ((b"\n", compiled_later(rb"\n[>|] |[\\=]\n")),)
# Python searches fast for what begins with one of a few characters.
_LINE_END = compiled_later(rb"\n(?:[>|] )?|\r(?=\n)")
_CONTINUED = compiled_later(rb"\n(?:[>|] )?|\r(?=\n)|\\(?=\r?\n)|=(?=\r?\n)")


def joined_lines(data: bytes) -> Iterator[View]:
    """Yield the parts of `data` whose lines have a border, or go on behind a sign, as one line each."""
    for start, stop in _around(_BEFORE_BORDERS, data):
        yield from _substituted(_CONTINUED, (), View(data[start:stop], Moved(_same_place, start), "lines"))


def _around(signs: Iterable[tuple[bytes, re.Pattern[bytes]]], data: bytes) -> Iterator[Span]:
    """Yield the parts of `data` around what matches one of `signs`."""
    places = sorted(place for sign, begun in signs if sign in data for place in _places(begun, data))
    which = 0
    while which < len(places):
        start = end = places[which]
        while which < len(places) and places[which] <= end + _AROUND:
            end = places[which]
            which += 1
        yield max(0, start - _AROUND), end + _AROUND


def _places(pattern: re.Pattern[bytes], data: bytes) -> Iterator[int]:
    """Yield where `pattern` matches, without those near behind another."""
    match = pattern.search(data)
    while match is not None:
        yield match.start()
        match = pattern.search(data, match.end() + _AROUND // 2)


def _substituted(
    pattern: re.Pattern[bytes], by: tuple[()] | Callable[[re.Match[bytes]], bytes], part: View
) -> Iterator[View]:
    """Yield `part` with each match of `pattern` replaced, if there is one."""
    view = substituted(pattern, part.data, by)
    if view is not None:
        yield View(view.data, Twice(view.origin, part.origin), part.encoding)


def _meant(escape: re.Match[bytes]) -> bytes:
    """Return what `escape` stands for."""
    digits = escape["hex"] or escape["percent"]
    if digits:
        return binascii.a2b_hex(digits)
    if escape["plus"]:
        return b" "
    if escape["octal"]:
        return bytes([int(escape["octal"], 8)])
    number = int(escape["decimal"]) if escape["decimal"] else int(escape["entity"], 16)
    return (chr(number) if number < _HIGHEST else "\ufffd").encode(errors="surrogatepass")


INDEXED = b'"0":'
"""The first member of an object that has bytes by their place, as JSON of a `Uint8Array` is."""
_BY_PLACE = compiled_later(rb'"0":\s{0,2}[0-9]{1,3}(?:,\s{0,24}"[0-9]{1,7}":\s{0,2}[0-9]{1,3}){7,}')
_OF_A_PLACE = compiled_later(rb":\s*([0-9]+)")
_ANY_BYTE = 256


def indexed(data: bytes) -> Iterator[View]:
    """Yield the bytes of each object in `data` that has them by their place."""
    for listed in _BY_PLACE.finditer(data):
        numbers = list(_OF_A_PLACE.finditer(data, *listed.span()))
        spans = [number.span(1) for number in numbers]
        pieces = [bytes([min(int(number[1]), _ANY_BYTE - 1)]) for number in numbers]
        yield View(b"".join(pieces), Joined(pieces, spans), "numbers")


_ENCODED_WORD = compiled_later(
    rb"=\?([A-Za-z0-9_-]{2,20})(?:\*[A-Za-z-]{1,8})?\?([bBqQ])\?([^?\s]{1,256})\?=(?:\s{1,40}(?==\?))?"
)


def encoded_words(data: bytes) -> Iterator[View]:
    """Yield `data` with the encoded words of mail headers decoded, without the blanks between two."""
    pieces: list[bytes] = []
    spans: list[Span] = []
    at = 0
    for word in _ENCODED_WORD.finditer(data):
        decoded = _word(word[1], word[2], word[3])
        if decoded is not None:
            pieces += data[at : word.start()], decoded
            spans += (at, word.start()), word.span()
            at = word.end()
    if not pieces:
        return
    pieces.append(data[at:])
    spans.append((at, len(data)))
    begins = [0, *accumulate(map(len, pieces))]

    def origin(start: int, stop: int) -> Span:
        first, last = bisect_right(begins, start) - 1, bisect_right(begins, stop - 1) - 1
        # Of text its own place, of a word the whole.
        low = spans[first][0] if first % 2 else spans[first][0] + start - begins[first]
        high = spans[last][1] if last % 2 else spans[last][0] + stop - begins[last]
        return low, high

    yield View(b"".join(pieces), origin, "encoded words")


def _word(charset: bytes, encoding: bytes, text: bytes) -> bytes | None:
    try:
        data = (
            binascii.a2b_qp(text, header=True)
            if encoding in b"qQ"
            else binascii.a2b_base64(text + b"=" * (-len(text) % 4))
        )
        return data.decode(charset.decode()).encode()
    except (binascii.Error, LookupError, ValueError):
        return None


UUENCODED = frozenset((b"begin ", *(b"\nM" + bytes([sign]) for sign in range(ord("("), ord("?") + 1))))
"""What text that is uuencoded begins with, and its lines, whose first letter says how long they are."""
UU_LINE = compiled_later(rb"M[ -`]{60}\r?(?:\n|\Z)")


def uuencoded(data: bytes, signs: AbstractSet[bytes]) -> Iterator[View]:
    """Yield what is uuencoded in `data`, which has `signs`, even if its beginning is not there."""
    done = 0
    for line in _uuencoded_lines(data, signs):
        if line < done:
            continue
        pieces: list[bytes] = []
        spans: list[tuple[int, int]] = []
        at = line
        while at < len(data):
            end = data.find(b"\n", at)
            end = len(data) if end < 0 else end
            try:
                piece = binascii.a2b_uu(data[at:end])
            except binascii.Error:
                break
            if not piece:
                break
            pieces.append(piece)
            spans.append((at, end))
            at = end + 1
        if pieces:
            done = spans[-1][1]
            yield View(b"".join(pieces), Joined(pieces, spans), "uuencode", text=False)


def _uuencoded_lines(data: bytes, signs: AbstractSet[bytes]) -> list[int]:
    """Return, in order, where lines begin that may be the first of those that are uuencoded."""
    lines = [0] if UU_LINE.match(data) else []
    for sign in UUENCODED & signs:
        at = data.find(sign)
        while at >= 0:
            line = data.find(b"\n", at) + 1 or len(data)
            if sign == b"begin " or UU_LINE.match(data, line):
                lines.append(line)
            at = data.find(sign, max(at + len(sign), line))
    return sorted(lines)


def code_points(data: bytes) -> Iterator[View]:
    r"""Yield what is in `data` with each character by its number, as `\u{6b}`, `U+006B` or `&#107;`."""
    for first, region, each in _POINTS:
        at = data.find(first)  # three times as fast as the expression's own search
        while at >= 0:
            match = region.match(data, at)
            at = data.find(first, at + len(first) if match is None else match.end())
            if match is None:
                continue
            matches = list(each.finditer(match[0]))
            base = 10 if first == b"&#" and b"x" not in match[0].lower() else 16
            try:
                numbers = [int(one[1], base) for one in matches]
            except ValueError:
                continue
            spans = [(match.start() + one.start(), match.start() + one.end()) for one in matches]
            yield of_points(numbers, spans)


_HIGH_BYTES = tuple(b"\\x%02x" % byte for byte in range(1, 7))  # of letters that are no more than two bytes
_LEAST_HIGH = 4
_LOW_BYTE = rb"(?:\\x(?P<low>[0-9a-f]{2})|\\(?P<sign>[nrt'\"\\])|(?P<itself>[ -\[\]-~]))"
_HIGH_BYTE = rb"\\x(?P<high>0[0-6])"
_OF_UTF16 = (compiled_later(_LOW_BYTE + _HIGH_BYTE), compiled_later(_HIGH_BYTE + _LOW_BYTE))
_SIGNS = {b"n": b"\n", b"r": b"\r", b"t": b"\t"}


def escaped_utf16(data: bytes) -> Iterator[View]:
    """Yield `data` with UTF-16 decoded of which a repr has escaped the bytes, in either order.

    Letters of ASCII are found without that, as their other bytes are zero.
    """
    if b"\\x0" in data and any(data.count(high) >= _LEAST_HIGH for high in _HIGH_BYTES):
        for pattern in _OF_UTF16:
            view = substituted(pattern, data, _of_two_bytes)
            if view is not None:
                yield View(view.data, view.origin, "escapes")


def _of_two_bytes(pair: re.Match[bytes]) -> bytes:
    """Return the character of a `pair` of bytes."""
    sign = pair["sign"]
    low = int(pair["low"], 16) if pair["low"] else ord(_SIGNS.get(sign, sign) if sign else pair["itself"])
    return chr(int(pair["high"], 16) << 8 | low).encode()


def of_points(numbers: list[int], spans: list[tuple[int, int]]) -> View:
    """Return the characters of `numbers`, which are at `spans`."""
    pieces = [
        (chr(number) if number < _HIGHEST else "\ufffd").encode(errors="surrogatepass") for number in numbers
    ]
    data = b"".join(pieces)
    if b"\xed" in data:  # two halves of one character
        whole = data.decode(errors="surrogatepass").encode("utf-16-le", errors="surrogatepass")
        decoded = whole.decode("utf-16-le", errors="replace").encode()
        if len(decoded) != len(data):
            return View(decoded, lambda _start, _stop: (spans[0][0], spans[-1][1]), "numbers")
    return View(data, Joined(pieces, spans), "numbers")


def signed(data: bytes, at: int) -> tuple[list[View], int]:
    """Return the list of signed bytes round `at`, and where it ends."""
    first_digit = _DIGIT.search(data, at)
    at = at if first_digit is None else first_digit.start()
    if not _FIRST_SIGNED.match(data, at):  # as in a hash, or a date
        return [], at
    before = _BEFORE_SIGNED.search(data, max(0, at - _LONGEST_PLACE), at)
    start = at if before is None else before.start()
    listed = _SIGNED.match(data, start)
    if listed is None or listed.end() <= at:
        return [], at
    matches = list(_INTEGER.finditer(listed[0]))
    numbers = bytes(int(one[0]) & 255 for one in matches)
    spans = [(start + one.start(), start + one.end()) for one in matches]
    view = View(numbers, lambda first, stop: (spans[first][0], spans[stop - 1][1]), "numbers")
    return [view], listed.end()


# --- dumps: an address, hexadecimal digits, and perhaps the text beside them ---

# Words of digits have a sign between, so that there is one way alone to take a line apart. A line of which
# many places look like its beginning must not be long.
_SIDE = rb"(?:\||\xe2\x94[\x82\x8a])"  # of a box
_DUMP_LINE = compiled_later(
    rb"(?:[ \t|]|\xe2\x94\x82){0,12}(?:0x)?[0-9a-fA-F]{4,16}(?:: {0,2}| - | {1,4}|\t|%b )"
    rb"(?=[^\n]{0,1024}+(?:\n|\Z))"
    rb"((?:[0-9a-fA-F]{2,512}(?:[ -]{1,3}| %b )(?=[0-9a-fA-F]{2}))*[0-9a-fA-F]{2,512})(?=[ \t\r\n]|\Z)"
    rb"([^\n]*)(?:\n|\Z)" % (_SIDE, _SIDE)
)
# A debugger's words, behind an address and perhaps a name.
_WORDS_LINE = compiled_later(
    rb"[ \t]{0,12}0x[0-9a-fA-F]{4,16}(?: <[^>\n]{1,80}>)?:"
    rb"((?>(?:[ \t]{1,4}0x(?:[0-9a-fA-F]{2}){1,8}){1,32}))(?![0-9a-fA-FxX])([^\n]*)(?:\n|\Z)"
)
# Bytes without an address, with the text beside them.
_BARE_ROW = compiled_later(
    rb"((?:[0-9a-fA-F]{2} {1,2}){0,31}[0-9a-fA-F]{2})((?:\t| {2,200})[^ \t\n][^\n]{0,80}|[ \t]*)(?:\r?\n|\Z)"
)
_BENEATH = compiled_later(rb"( {6,24}[^\n]{1,256})(?:\n|\Z)")
_ADDRESS_BEHIND = compiled_later(rb"(?<= )[0-9a-fA-F]{4,8}: {1,2}(?=[0-9a-fA-F]{2} )")
_LEAST_IN_ROW = 24
_BETWEEN_WORDS = compiled_later(rb"[ \t|-]+(?:0x)?|\xe2\x94[\x82\x8a]|0x")
_FIRST_ADDRESS = compiled_later(rb"[ \t|]{0,12}(?:0x)?0{4,16}[ :|\t]")
_HEX_DIGIT = compiled_later(rb"[0-9a-fA-F]")
_LONGEST_MARGIN = 96
_LEAST_LINES = 2
_MOST_LINES = 4096
_WORDS = (4, 8, 16)
_BITS = 8


def dumped(data: bytes, at: int) -> tuple[list[View], int]:
    """Return what the dump holds whose first line contains `at`, and where it ends; none without one."""
    digit = _HEX_DIGIT.search(data, at)
    at = at if digit is None else digit.start()
    low = max(0, at - _LONGEST_MARGIN)
    begin = data.rfind(b"\n", low, at) + 1 or low
    pattern, margin = _kind_of_row(data, begin, at)
    pieces: list[bytes] = []
    others: list[bytes] = []
    spans: list[tuple[int, int]] = []
    width = size = 0
    twice = False
    while len(pieces) < _MOST_LINES and pattern is not None:
        line = pattern.match(data, begin + margin)
        if (
            line is None
            or b"\n" in data[begin : line.start()]
            or (pieces and _FIRST_ADDRESS.match(data, begin))
        ):
            break
        shown = line[1]
        if width and len(shown) > width:  # the text beside it looks like digits
            shown = shown[:width]
        words = _BETWEEN_WORDS.sub(b" ", shown).split()
        size = size or len(words[0])
        if any(len(word) % 2 for word in words) or (pattern is _WORDS_LINE and len(words[0]) != size):
            break
        width = width or len(line[1])
        try:
            pieces.append(_of_bits(words) or binascii.a2b_hex(b"".join(words)))
        except binascii.Error:
            break
        others.append(b"".join(turned(word) for word in words))
        # The text beside it goes with the digits, and so does the same in another form beneath.
        begin, stop = line.end(), line.end(2)
        beneath = _BENEATH.match(data, begin)
        if beneath is not None and (twice or pattern.match(data, beneath.end())):
            twice = True
            begin, stop = beneath.end(), beneath.end(1)
        spans.append((line.start(1), stop))
    if len(pieces) < _LEAST_LINES:
        return [], at
    views = [View(b"".join(pieces), Joined(pieces, spans), "hex")]
    if others != pieces:
        views.append(View(b"".join(others), Joined(others, spans), "hex"))
    return views, begin


def _kind_of_row(data: bytes, begin: int, at: int) -> tuple[re.Pattern[bytes] | None, int]:
    """Return the pattern of the line that begins at `begin`, and how many bytes of other text precede each.

    The first digit of it is at `at`. A log has a time and names before each line.
    """
    for pattern in (_DUMP_LINE, _WORDS_LINE):
        if pattern.match(data, begin):
            return pattern, 0
    if _DUMP_LINE.match(data, at):
        return _DUMP_LINE, at - begin
    behind = _ADDRESS_BEHIND.search(data, at, at + _LONGEST_MARGIN)  # text of digits, as a time and a thread
    if (
        behind is not None
        and b"\n" not in data[at : behind.start()]
        and _DUMP_LINE.match(data, behind.start())
    ):
        return _DUMP_LINE, behind.start() - begin
    row = _BARE_ROW.match(data, at)
    if row is not None and len(row[1]) >= _LEAST_IN_ROW and row[2].strip():
        return _BARE_ROW, at - begin
    return None, 0


def _of_bits(words: list[bytes]) -> bytes:
    """Return the bytes that `words` of eight binary digits each are; none where they are others."""
    if any(len(word) != _BITS or word.strip(b"01") for word in words):
        return b""
    return bytes(int(word, 2) for word in words)


def turned(word: bytes) -> bytes:
    """Return the bytes of a word of hexadecimal digits, of which the last come first in memory."""
    return binascii.a2b_hex(word)[::-1] if len(word) in _WORDS else binascii.a2b_hex(word)


# --- what was edited out ---

_RED = compiled_later(rb"\x1b\[(?:1;)?31m[^\x1b\n]{1,512}\x1b\[0?m|\x1b\[[0-9;]*m")
_WORD_DIFF = compiled_later(rb"\[-[^\n]{0,512}?-\]|\{\+|\+\}")


def edited(data: bytes) -> Iterator[View]:
    """Yield `data` as it is behind an edit that a diff of words shows."""
    for marked, pattern in ((b"\x1b[31m", _RED), (b"{+", _WORD_DIFF)):
        view = substituted(pattern, data) if marked in data else None
        if view is not None:
            yield View(view.data, view.origin, "colours")
