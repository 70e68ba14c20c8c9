"""Other readings of a text: with base64 and lists of numbers decoded, or colours and separators taken out.

Each view knows where in the text its bytes come from. Most text has nothing to decode; `bytes.translate` and
`bytes.find`, which run at the speed of C, tell so.
"""

from __future__ import annotations

import binascii
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from functools import cache
from itertools import accumulate, chain

from strongroom.masking.compiled_later import compiled_later
from strongroom.masking.dumps import ADDRESS_END, DUMP, characters
from strongroom.masking.items import ITEM_BEGINS, ITEMS, itemized
from strongroom.masking.lists import IS_LISTED, lists
from strongroom.masking.origins import (
    LEAST,
    LEAST_NULS,
    NEVER_IN_TEXT,
    NOTHING,
    RUN,
    Hits,
    Known,
    Moved,
    Runs,
    Twice,
    Unbroken,
    View,
    is_text,
    is_utf16,
    substituted,
)
from strongroom.masking.readings import (
    BORDERED,
    INDEXED,
    UU_LINE,
    UUENCODED,
    base32,
    code_points,
    edited,
    encoded_words,
    escaped_utf16,
    indexed,
    joined_lines,
    unescaped,
    uuencoded,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    _Group = tuple[list[bytes], Any]

__all__ = ["LEAST", "NOTHING", "READINGS", "Known", "View", "views"]

READINGS = (
    ("base64", "both alphabets, at any alignment, wrapped, cut, its `+`, `/` and line ends escaped"),
    ("base32", "both cases, wrapped or cut"),
    ("encoded words", "the headers of mail: `=?utf-8?q?…?=`, `=?utf-8?b?…?=`, also over several lines"),
    ("uuencode", "behind its `begin`, and whole lines without it"),
    (
        "hex",
        "digits, wrapped, in groups, with `0x`, `\\x`, `%`, colons, dashes; dumps of od, xxd, hexyl, gdb",
    ),
    (
        "numbers",
        "lists of bytes or code points: node's `Buffer`, `Uint8Array`, Python, Go, Rust, Java, PHP, `&#107;`",
    ),
    (
        "escapes",
        "one escape behind another, `\\x252F`, `&#37;2F`, and lists whose commas are escaped, as in a URL",
    ),
    ("lines", "lines with a border, `> ` or `| `, and those that go on behind a backslash or an equals sign"),
    ("colours", "terminal sequences, overstrikes, NUL bytes (UTF-16) and what a diff of words strikes out"),
    (
        "apart",
        "characters apart: in lists, by their places, in HTML's quotes, `od -c`, `od -bc`, after backslashes",
    ),
)
"""Every reading, for the documentation."""

_SHORT = 4096
_WORD = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_SPECIAL = b"\x1b\x08\0\\'%&"
"""Without one of these nothing is coloured, escaped or quoted."""
_IS_BASE64 = bytes(byte in _WORD + b"+/-_" for byte in range(256))
_MARKS = bytes(_IS_BASE64[byte] or 2 * (byte in _SPECIAL) for byte in range(256))
_RULE = rb"\xe2(?:\x94[\x82\x83]|\x95\x91)"  # the sides of a box
_BREAK = (
    rb"(?:(?:[ \t]+(?:\||%b))?[ \t]*\r?\n(?:[0-9a-f]{4,8}: )?(?:[ \t|>#*]|%b)*"
    rb"|(?:\\{1,16}r)?\\{1,16}n|(?:%%0[dD])?%%0[aA])"
) % (_RULE, _RULE)
# An address does not belong to it: `_GOES_ON` takes that for a break.
_BASE64 = compiled_later(rb"[A-Za-z0-9+/_-]++(?:[ \t]*+\r?+\n(?![0-9a-f]{4,8}: )[ \t]*+[A-Za-z0-9+/_-]++)*")
_HASH = compiled_later(
    rb"(?:[0-9a-f]{22,}+|[0-9A-F]{22,}+)"
    rb"(?>(?:[ \t]*+\r?+\n(?![0-9a-f]{4,8}: )[ \t]*+[A-Za-z0-9+/_-]{1,15}+)?)"
    rb"(?![A-Za-z0-9+/_-]|[ \t]*+[\r\n\\%|\xe2])"
)
"""A run of `LEAST` or more hexadecimal digits, and the short word that may begin the next line.

They are not base64, whose letters are of both cases, nor base32, whose digits are 2 to 7. `lists` reads them.
"""
# Behind most runs is a word: that no break begins there, a look ahead tells first.
_GOES_ON = compiled_later(rb"(?=[ \t]*+[\r\n\\%|\xe2])(?:" + _BREAK + rb"[A-Za-z0-9+/_-]+)+")
_LEAST_LINE = 30  # of base64 that is escaped or quoted; names of this length are rare
# The same in a run that has no other signs; Python searches fast for what begins with one of a set.
_BREAKS = compiled_later(
    rb"[ \t\r\n\\%](?:(?<=[\\])\\{0,15}(?:r\\{1,16})?n|(?<=%)0[aAdD](?:%0[aA])?"
    rb"|(?<=[ \t\r\n])(?:[ \t\r\n|]|%b)*(?:[0-9a-f]{4,8}: )?(?:[ \t|>#*]|%b)*)".replace(b"%b", _RULE)
)
_TO_STANDARD = bytes.maketrans(b"-_", b"+/")
_GAP = b"\xff\xff\xff"
_BLANKS = b" \t\r\n"
_OF_BASE32 = bytes(byte in _WORD and byte not in b"0189" for byte in range(256))
_UPPER_BASE32 = bytes(byte in b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567" for byte in range(256))
_LOWER_BASE32 = bytes(byte in b"abcdefghijklmnopqrstuvwxyz234567" for byte in range(256))
_LEAST_BASE32 = b"\1" * 16
_IN_ONE_CASE = compiled_later(
    rb"[A-Z2-7]{16,}(?:[ \t\r\n]+[A-Z2-7]+(?![A-Za-z0-9+/_-]))*"
    rb"|[a-z2-7]{16,}(?:[ \t\r\n]+[a-z2-7]+(?![A-Za-z0-9+/_-]))*"
)
_IN_GROUPS = compiled_later(
    rb"[0-9a-fA-F]{2}(?:(?:-[0-9a-fA-F]{2}){7,}|(?:_[0-9a-fA-F]{2}){7,})"
    rb"|[0-9a-fA-F]{4}(?:(?:-[0-9a-fA-F]{4}){3,}|(?:_[0-9a-fA-F]{4}){3,})"
)
_BETWEEN_GROUPS = b"-_"
_MANY = 4
"""So many runs are worth decoding at once."""
_BETWEEN_RUNS = b"////"  # decoded, bytes that are in no text, at any alignment
_IN_NO_TEXT = bytes(byte in NEVER_IN_TEXT for byte in range(256))
_FEW_NULS = 5  # UTF-16 in a run of the least length has no fewer
_EDGE_OF_TEXT = 3  # bytes: a character may be cut there


def views(data: bytes, known: Known = NOTHING, hits: Hits | None = None) -> Iterable[View]:
    """Return every other reading of `data` that something in it gives a reason for.

    Args:
        data: What is read.
        known: Where values were found already; nothing is decoded there.
        hits: If it is given, of many runs of base64 only those are decoded that hold text or have a hit, and
            so of numbers without a sign between their digits.
    """
    # Python translates a `bytearray` twice as fast as `bytes`, but a short text sooner than it copies it.
    unknown = data if known is NOTHING and len(data) < _SHORT else known.crossed_out(data)
    marked = unknown.translate(_MARKS)
    listed = unknown.translate(IS_LISTED)
    has_runs = len(data) >= _SHORT or RUN in marked or RUN in listed
    special = b"\2" in marked
    signs = _signs(data)
    has_signs = signs or special or data.startswith(_FIRST_SIGNS)
    if not has_runs and not has_signs:
        return ()  # as of nearly each log record
    if special:
        marked = marked.replace(b"\2", b"\0")
    return chain(
        _by_runs(data, Runs(marked), Runs(listed), known, hits) if has_runs else (),
        _by_signs(data, signs, special=special) if has_signs else (),
    )


def _by_runs(data: bytes, of_base64: Runs, of_lists: Runs, known: Known, hits: Hits | None) -> Iterator[View]:
    """Yield the readings of base64 and of lists; those that are not text as one."""
    batch = _Batch()
    for view in (*_base64(data, of_base64, known, hits), *lists(data, of_lists, known, hits)):
        if view.text:
            yield view
        else:
            batch.add(view)
    yield from batch.views()


def _by_signs(data: bytes, signs: AbstractSet[bytes], *, special: bool) -> Iterator[View]:
    """Yield the readings for which there is a sign in `data`, or at its beginning."""
    if not BORDERED.isdisjoint(signs):
        yield from joined_lines(data)
    if DUMP in signs or ADDRESS_END in signs or data.startswith(DUMP[1:]):
        yield from characters(data)
    if not UUENCODED.isdisjoint(signs) or (data.startswith(b"M") and UU_LINE.match(data)):
        yield from uuencoded(data, signs)
    if _WORDS in signs and b"+}" in data:
        yield from edited(data)
    if INDEXED in signs:
        yield from indexed(data)
    if not ITEMS.isdisjoint(signs):
        yield from itemized(data, signs)
    if _MAIL in signs:
        yield from encoded_words(data)
    if special or _POINT in signs:
        yield from _with_parts_taken_out(data, signs)


def _with_parts_taken_out(data: bytes, signs: AbstractSet[bytes]) -> Iterator[View]:
    yield from code_points(data)
    yield from unescaped(data)
    if b"\x1b" in data or b"\x08" in data or b"\0" in data:
        yield from _without(_TERMINAL, data, "colours")
        yield from edited(data)
    if b"\\" in data:
        yield from _parts(_EACH_ESCAPED, rb"\\+", data)
        yield from escaped_utf16(data)
        if any(data.count(nul) >= LEAST_NULS for nul in (b"\\x00", b"\\0", b"\\u0000")):
            yield from _without(_ESCAPED_NULS, data, "colours")
        if not _COLOURED.isdisjoint(signs):
            yield from _without(_ESCAPED_COLOURS, data, "colours")
    if b"', '" in data or b"' '" in data:
        yield from _parts(_LIST_OF_CHARACTERS, _QUOTED, data, more=2, by=(b"", b" "))
    yield from _escaped_base64(data)


_POINT, _WORDS, _MAIL = b"U+", b"{+", b"=?"
_COLOURED = frozenset((b"1b[", b"1B[", b"033[", b"\\e[", b"\\E["))
_RARE = (DUMP, ADDRESS_END, _POINT, _WORDS, _MAIL, INDEXED)
_SIGNS = (*_RARE, *sorted(_COLOURED), *sorted(UUENCODED), *sorted(BORDERED), *sorted(ITEMS - {INDEXED}))
_UU_LINES = b"\nM"
"""Most of `UUENCODED` begin so: this is looked for first, and they only where it is."""


_FIRST_SIGNS = (DUMP[1:], b"M")
_NO_SIGNS: frozenset[bytes] = frozenset()
_ANY_SIGN = compiled_later(
    b"|".join((*map(re.escape, (*_RARE, _UU_LINES, b"begin ", b"\n> ", b"\n| ", b"=\n", b"\\")), ITEM_BEGINS))
)
"""What is in each of `_SIGNS`, and may be elsewhere."""


def _signs(data: bytes) -> AbstractSet[bytes]:
    """Return which of `_SIGNS`, the texts that a reading begins with, are in `data`."""
    if len(data) < _SHORT:
        # Each log record comes here, and has none: one search for what each of them has is the fastest.
        return {sign for sign in _SIGNS if sign in data} if _ANY_SIGN.search(data) else _NO_SIGNS
    # Eight times as fast as Python, which compares at every blank.
    short, longer, of_uu = _groups_of_signs()
    found = _signs_of(short, data) | _signs_of(longer, data)
    return found | _signs_of(of_uu, data) if _UU_LINES in found else found


def _signs_of(group: _Group, data: bytes) -> set[bytes]:
    signs, finder = group
    return {signs[which] for which, _, _ in finder.find_matches_as_indexes(data)}


@cache
def _groups_of_signs() -> tuple[_Group, _Group, _Group]:
    """Return short signs, longer ones, and the beginnings of uuencoded lines, each group with a search.

    One search compares no more bytes than its shortest text has. It takes longer for more than 32 texts, and
    for `INDEXED` beside digits and blanks. The order counts too: the library puts each eighth text together.
    """
    from ahocorasick_rs import BytesAhoCorasick, MatchKind  # a search has loaded it

    short = [_UU_LINES, INDEXED, *(sign for sign in _SIGNS if len(sign) <= len(_POINT))]
    of_uu = [sign for sign in _SIGNS if sign.startswith(_UU_LINES)]
    longer = [sign for sign in _SIGNS if sign not in {*short, *of_uu}]
    first, second, third = (
        (signs, BytesAhoCorasick(signs, matchkind=MatchKind.LeftmostLongest))
        for signs in (short, longer, of_uu)
    )
    return first, second, third


_TERMINAL = compiled_later(
    rb"\x1b\[[0-9;:?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]{0,512}(?:\x07|\x1b\\)|\x1b[()][AB0-2]|\x1b[=>78]"
    rb"|(?:[\xc0-\xff][\x80-\xbf]{1,3}|[^\n])\x08|\0"
)
# As JSON, a repr, or a shell writes them.
_ESCAPED_COLOURS = compiled_later(rb"\\{1,8}(?:u001[bB]|x1[bB]|033|[eE])\[[0-9;:?]{0,40}[ -/]?[@-~]")
_ESCAPED_NULS = compiled_later(rb"\\(?:x00|u0000|0{1,3}(?![0-9]))")
_EACH_ESCAPED = compiled_later(rb"(?<!\\)\\(?:\\*[^\n\\][\x80-\xbf]{0,3}\\){5,}\\*[^\n\\][\x80-\xbf]{0,3}")
# In quotes, with a comma between as most print them, without one as Go and numpy do, or in rows as node does.
_COMMA = rb"(?:,(?: {1,3}|\r?\n {1,16})?| )"
_LIST_OF_CHARACTERS = compiled_later(
    rb"'%b['\"](?:(?:\\u\{?[0-9a-f]{2,6}\}?|\\[^\n]|[^\n\\]{1,4}?)['\"]%b['\"]){4,}" % (_COMMA, _COMMA)
)
_QUOTED = rb"(['\"]%b['\"])" % _COMMA
# Each begins with a single character, which Python searches for fast.
_PERCENT = compiled_later(rb"%(?:25){0,2}2[BbFf]")
_SLASH = compiled_later(rb"\\(?:/|u002[bBfF])")
_ENTITY = compiled_later(rb"&#(?:4[37]|[xX]2[bBfF]);")
_AROUND = 1024
_ESCAPES_OF_BASE64 = compiled_later(
    rb"(%(?:25){0,2}2[Bb]|\\+u002[bB]|&#(?:43|[xX]2[bB]);)|(%(?:25){0,2}2[Ff]|\\+/|\\+u002[fF]|&#(?:47|[xX]2[fF]);)"
    rb"|(\\+r\\+n|\\+n|%0[dD]%0[aA]|%0[aA])"
)


# --- base64 ---


def _base64(data: bytes, runs: Runs, known: Known, hits: Hits | None = None) -> Iterator[View]:
    coded: dict[bytes, list[int]] = {}  # runs that may be encoded bytes, and where each begins
    escaped: set[bytes] = set()
    in_one_case: list[tuple[bytes, int]] = []
    for text, at, has_escapes in _runs(data, runs, known):
        if (text[2] == text[5] and text[2] in _BETWEEN_GROUPS) or (
            text[4] == text[9] == text[14] and text[4] in _BETWEEN_GROUPS
        ):
            yield from _in_groups(text, at)
        if text in coded:
            coded[text].append(at)
        # Encoded bytes have letters in both cases; paths and hexadecimal digits have not.
        elif not text.islower() and not text.isupper() and not text.isdigit():
            coded[text] = [at]
            if has_escapes:
                escaped.add(text)
        else:
            in_one_case.append((text, at))
    yield from _base32([*in_one_case, *_in_one_case(coded)])
    chosen: Iterable[bytes] = coded
    if hits is not None and sum(map(len, coded.values())) >= _MANY:
        chosen = [*escaped, *_worth_decoding([text for text in coded if text not in escaped], hits)]
    for text in chosen:
        for start in coded[text]:
            yield from _decoded(text, start)


def _base32(runs: list[tuple[bytes, int]]) -> Iterator[View]:
    if _may_be_base32(b" ".join(text for text, _ in runs)):  # hardly ever, as they are hashes and paths
        for text, at in runs:
            if _may_be_base32(text) and not text.isdigit():
                yield from base32(text, at)


def _in_groups(text: bytes, at: int) -> Iterator[View]:
    """Yield the hexadecimal digits that `text`, which begins at `at`, has with a dash between each 2 or 4."""
    for view in _parts(_IN_GROUPS, rb"[-_]", text):
        yield View(view.data, Moved(view.origin, at), "hex")


def _in_one_case(coded: dict[bytes, list[int]]) -> Iterator[tuple[bytes, int]]:
    """Yield what may be base32 in runs of both cases: other text is beside it, or on the next line."""
    joined = b" ".join(coded)
    if _may_be_base32(joined) and (
        _LEAST_BASE32 in joined.translate(_UPPER_BASE32) or _LEAST_BASE32 in joined.translate(_LOWER_BASE32)
    ):
        for text, places in coded.items():
            for match in _IN_ONE_CASE.finditer(text):
                yield from ((match[0], at + match.start()) for at in places)


def _may_be_base32(text: bytes) -> bool:
    return _LEAST_BASE32 in text.translate(_OF_BASE32)


def _runs(data: bytes, runs: Runs, known: Known) -> Iterator[tuple[bytes, int, bool]]:
    """Yield each run of base64, where it begins, and whether other signs than blanks break its lines."""
    match_hash, end = _HASH.match, 0
    for begin in runs.begins:
        if begin < end:
            continue  # within the run before, which no sign of base64 follows
        if passed_over := match_hash(data, begin):
            end = passed_over.end()
            continue
        run = _BASE64.match(data, begin)
        assert run is not None  # noqa: S101  # its first character is one of base64
        end = plain = run.end()
        if end - begin >= _LEAST_LINE and (more := _GOES_ON.match(data, end)):
            end = more.end()
        if not known.covers(begin, end):
            yield data[begin:end], begin, end > plain


def _worth_decoding(runs: list[bytes], hits: Hits) -> list[bytes]:
    """Return those of `runs` that hold text, or something of a value, at some alignment.

    Most runs are paths and names. All are decoded by one call an alignment, and looked through by another.
    There is nothing but blanks and line ends in them that is not base64.
    """
    worth: set[int] = set()
    texts = [run.translate(None, _BLANKS) for run in runs]
    pieces = [text + _BETWEEN_RUNS + _BETWEEN_RUNS[: -len(text) % 4] for text in texts]
    joined = b"".join(pieces).translate(_TO_STANDARD)
    begins = [0, *(stop * 3 // 4 for stop in accumulate(map(len, pieces)))]
    for shift in range(4):
        data = binascii.a2b_base64(joined[shift : len(joined) - -shift % 4])
        worth.update(bisect_right(begins, start) - 1 for start in hits(data))
        never = data.translate(_IN_NO_TEXT)
        for which, text in enumerate(texts):
            begin = begins[which]
            end = begin + (len(text) - shift) * 3 // 4
            may_be_text = never.find(1, begin + _EDGE_OF_TEXT, end - _EDGE_OF_TEXT) < 0
            has_nuls = data.count(0, begin, end) >= _FEW_NULS
            if (may_be_text and is_text(data[begin:end])) or (has_nuls and is_utf16(data[begin:end])):
                worth.add(which)
    return [run for which, run in enumerate(runs) if which in worth]


def _decoded(text: bytes, start: int) -> Iterator[View]:
    broken = b"\n" in text or b"\\" in text or b"%" in text
    breaks = [match.span() for match in _BREAKS.finditer(text)] if broken else []
    clean = _without_spans(text, breaks) if breaks else text
    clean = clean.translate(_TO_STANDARD)
    pieces: list[bytes] = []
    for shift in range(4):
        usable = clean[shift : shift + (len(clean) - shift) // 4 * 4]
        rest = clean[shift + len(usable) :]
        if len(rest) > 1:
            usable += rest + b"=" * (4 - len(rest))
        pieces.append(binascii.a2b_base64(usable))
    unbroken = Unbroken(breaks)
    for shift, piece in enumerate(pieces):
        origin = _OfBase64(start, shift, unbroken, len(piece), len(clean))
        yield View(piece, origin, "base64", text=is_text(piece) or is_utf16(piece))


def _without_spans(text: bytes, spans: list[tuple[int, int]]) -> bytes:
    begins = [0, *(end for _, end in spans)]
    ends = [*(begin for begin, _ in spans), len(text)]
    return b"".join(map(text.__getitem__, map(slice, begins, ends)))


class _OfBase64:
    """Where decoded bytes come from."""

    def __init__(
        self, start: int, shift: int, unbroken: Callable[[int], int], size: int, characters: int
    ) -> None:
        self.start, self.shift, self.unbroken = start, shift, unbroken
        self.size, self.characters = size, characters

    def __call__(self, start: int, stop: int) -> tuple[int, int]:
        # Characters that also hold bits of the neighbours are left.
        first = self.shift - (-start * 4 // 3)
        last = self.shift + stop * 4 // 3 - 1 if stop < self.size else self.characters - 1
        return self.start + self.unbroken(first), self.start + self.unbroken(last) + 1


class _Batch:
    """Joins views that are not text to one, since a call costs more than looking through a few bytes."""

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
    for escape in sorted(_escape_places(data)):
        if escape < done:
            continue
        start, done = max(done, escape - _AROUND), escape + _AROUND
        view = substituted(_ESCAPES_OF_BASE64, data[start:done], (b"+", b"/", b""))
        if view is not None:
            origin = Moved(view.origin, start)
            yield from (
                View(one.data, Twice(one.origin, origin), one.encoding, one.text)
                for one in _base64(view.data, Runs(view.data.translate(_IS_BASE64)), NOTHING)
            )


def _escape_places(data: bytes) -> Iterator[int]:
    """Yield where `+` and `/` are escaped, in one way after the other."""
    for first, pattern in ((b"%", _PERCENT), (b"\\", _SLASH), (b"&", _ENTITY)):
        if first in data:
            yield from (match.start() for match in pattern.finditer(data))


# --- what is taken out ---


def _without(pattern: re.Pattern[bytes], data: bytes, name: str) -> Iterator[View]:
    view = substituted(pattern, data)
    if view is not None:
        yield View(view.data, view.origin, name)


def _parts(
    region: re.Pattern[bytes], taken_out: bytes, data: bytes, more: int = 0, by: tuple[bytes, ...] = (b"",)
) -> Iterator[View]:
    """Yield each `region` with each of `by` instead of the group of `taken_out`."""
    for match in region.finditer(data):
        start = max(0, match.start() - more)
        for put in by:
            view = substituted(compiled_later(taken_out), data[start : match.end() + more], (put,))
            if view is not None:
                yield View(view.data, Moved(view.origin, start), "apart")
