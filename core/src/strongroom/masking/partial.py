"""Returns whether the end of a stream so far may be the beginning of a value, as it is or encoded."""

from __future__ import annotations

from binascii import a2b_base64, a2b_hex, b2a_base64, b2a_hex
from bisect import bisect_right
from collections.abc import Iterable, Iterator

from strongroom.masking.compiled_later import compiled_later
from strongroom.masking.dumps import dumped_at_end
from strongroom.masking.encodings import base32_forms, in_base64_alphabets
from strongroom.masking.limits import ENOUGH
from strongroom.masking.origins import substituted
from strongroom.masking.steps import width
from strongroom.runtime.frozen import NamedTuple

__all__ = [
    "Beginnings",
    "Starts",
    "begin_of_character",
    "begun_at_end",
    "begun_broken_at_end",
    "encoded_at_end",
    "encoded_beginnings",
    "inside_at_end",
    "maybe_encoded_at_end",
    "partial_at_end",
    "unbroken",
]

_ENCODED_BYTES = 15
_HEAD = 3
_LONGEST_ENCODED = 128
_CONTINUING, _WIDEST = 0x80, 4  # bytes of a character of UTF-8
_LEAST_ENCODED, _LEAST_DIGITS = 3, 4
_ESCAPE_SIGNS = b"\\%&=\x1b^$'\"+"
_LONGEST_ESCAPE = 12
_OF_BORDERS = b" \t|"
_LONGEST_BORDER = 40
_EVIDENCE = 2
_BREAKS = b" \t\r\n|>"
# What is between the characters of a value that is coloured, struck over, in UTF-16 or broken over lines.
_BETWEEN = compiled_later(
    rb"[ \t\r\n|>\0]+|\x1b\[[0-9;:?]{0,40}[ -/]?[@-~]|\x1b(?:\[[0-9;:?]{0,40}[ -/]?)?\Z"
    rb"|(?:[\xc2-\xf4][\x80-\xbf]{1,3}|[^\n])\x08"
)
_LEAST_BROKEN = 3
_MOST_BROKEN = 256  # of a value, with what is between its characters
_MOST_COLOURED = 2048

_MOST_HELD = 1024
_OF_LISTS = b"0123456789abcdefABCDEFxXuU{}+&#;,: \\%[-"
_OF_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_="
_OF_HEX = b"0123456789abcdefABCDEF"
_NO_DIGITS = bytes(set(range(256)) - set(b"0123456789"))
_LEAST_LISTED = 10
_LEAST_BASE64 = 12  # what a stream keeps of what it gave out is as long
# All are matched from the end on, in one way alone: else what does not match takes time without bounds. Each
# comes with the signs of which it has one at least; where none is, it is not even compiled.
_APART = (
    (b",", compiled_later(rb"[^\s,]{0,4}(?:,[^\s,]{1,4}){4,}")),
    (
        b"\n ",
        compiled_later(
            rb"[, \r\\]{0,2}[^\s]{0,4}(?:(?:\n\r?| {1,3})(?:[^\s,\\][^\s]{0,3}|[,\\][^\s]{0,4})){3,}",
        ),
    ),
    (
        b"'\"",
        compiled_later(
            rb"(?:[^\n]{0,10}\n(?=\r?,))?[^\n]{0,10}['\"]?"
            rb"(?:(?:(?: {1,3}| {0,16}\n\r?)?,| )['\"]"
            rb"(?:[^\n'\"]{1,8}\\|['\"]\\|[^\n'\"\\]{1,4}|['\"])['\"]){2,}",
        ),
    ),
    # What a stream keeps of what it gave out is as long as one byte in quotes, and not as long as two.
    (b"'\"", compiled_later(rb"[^\n]{0,9}['\"]?(?: ?,['\"][0-9a-fA-F]{2}[xX]0['\"])+")),
)
# Not what colours text, as prompts do.
_ESCAPED = compiled_later(
    rb"\\|%[0-9A-Fa-f]|&(?:#|[a-z]{2,6};)|=[0-9A-F]{2}|=\?|M-\^?.M-|\"0\":"
    rb"|=\(\[0\]=|\{i:0;s:1:|U\+[0-9A-F]{4} '"
)
_COLOUR = compiled_later(rb"\x1b\[[0-9;:?]{0,40}[ -/]?[@-~]")
# One word without blanks, or numbers; perhaps behind a border or an address. A list of numbers may begin
# with blanks, so that those of the indentation are its own: tried as both, a line of blanks takes time
# without bounds.
_CODED = compiled_later(
    rb"(?:[ \t]*+(?>(?:[>|][ \t]?)?(?:[0-9a-f]{4,8}: )?)[^\s]*+"
    rb"|(?:[ \t]*+[>|]\t?|(?>(?: *+\t)*))[0-9a-fA-F, \[]*+)[\r\\]?"
)
_CODED_LINE = compiled_later(
    rb"(?:[ \t]*+(?:[>|] ?)?(?>(?:[0-9a-f]{4,8}: )?)[^\s]{12,}"
    rb"|(?:[ \t]*+[>|]|(?>(?: *+\t)*))[0-9a-fA-F, \[]{12,}+)\\?\r?\n"
)
_OF_CODED_END = b"0123456789abcdefABCDEF, "
_LEAST_CODED_END = 20
_STRUCK_OUT = (b"\x08", b"\x1b[31m", b"{+", b"\\x00")


class Starts(NamedTuple):
    """Texts that may begin at the end of a stream so far, in order, and their first characters."""

    ordered: list[bytes]
    heads: frozenset[bytes]
    longest: int

    @classmethod
    def of(cls, texts: Iterable[bytes]) -> Starts:
        """Return `texts` in order, with their first characters and the length of the longest."""
        ordered = sorted(set(texts))
        begun = {text[:_HEAD] for text in ordered}
        heads = frozenset(text[:size] for text in begun for size in range(1, _HEAD + 1))
        return cls(ordered, heads, max(map(len, ordered), default=0))


class Beginnings(NamedTuple):
    """How `size` values begin, plain and encoded, and all of them as one text; both also without blanks."""

    size: int
    longest: int
    values: Starts
    encoded: Starts
    everything: bytes
    unbroken: Starts
    all_unbroken: bytes


def inside_at_end(tail: bytes, everything: bytes) -> int:
    """Return how many bytes at the end of `tail` are a part of a value; 0 for a single one."""
    size = 0
    while size < min(len(tail), ENOUGH) and tail[-size - 1 :] in everything:
        size += 1
    return size if size > 1 else 0


def partial_at_end(tail: bytes) -> int:
    """Return how many bytes at the end of `tail` may be a part of an escape, or of a line break."""
    inside = tail[-_LONGEST_ESCAPE:]
    blanks = inside.split()
    size = 0
    if blanks and inside.endswith(blanks[-1]):
        without = blanks[-1].translate(None, _ESCAPE_SIGNS)
        if len(without) < len(blanks[-1]):
            size = len(blanks[-1]) - min(
                place for sign in _ESCAPE_SIGNS if (place := blanks[-1].find(sign)) >= 0
            )
    rest = _without_border(tail)
    rest = rest.removesuffix(b"\n").removesuffix(b"\r")
    return max(size, len(tail) - len(_without_border(rest)))


def begin_of_character(data: bytes, at: int) -> int:
    """Return where the character of UTF-8 begins that `at` is within, or whose rest is to come; else `at`."""
    if at == len(data) or data[at] & 0xC0 == _CONTINUING:
        for begin in range(at - 1, max(-1, at - _WIDEST), -1):
            if data[begin] & 0xC0 != _CONTINUING:
                return begin if begin + width(data, begin) > at else at
    return at


def _without_border(tail: bytes) -> bytes:
    return tail[: max(len(tail.rstrip(_OF_BORDERS)), len(tail) - _LONGEST_BORDER)]


def begun_at_end(tail: bytes, starts: Starts) -> int:
    """Return how many bytes at the end of `tail` are the beginning of one of `starts`, and not the whole."""
    ordered, heads, longest = starts
    for at in range(max(0, len(tail) - longest), len(tail)):
        if tail[at : at + _HEAD] not in heads:
            continue
        rest = tail[at:]
        # In sorted order, those that begin with `rest` come right after it.
        place = bisect_right(ordered, rest)
        if place < len(ordered) and ordered[place].startswith(rest):
            return len(rest)
    return 0


def unbroken(raw: bytes) -> bytes:
    """Return `raw` without the characters that may also be where a line is broken."""
    return raw.translate(None, _BREAKS)


def begun_broken_at_end(data: bytes, known: Beginnings) -> tuple[int, int]:
    """Return how many bytes at the end may begin a value with colours or breaks in it.

    The second item is how many bytes of the value these are.
    """
    tail, least = data[-_MOST_BROKEN:], _LEAST_BROKEN
    if b"\x1b" in tail or b"\0" in tail or b"\x08" in tail:
        # Each character may have a colour, which is longer than what is kept of what was given out.
        tail, least = data[-_MOST_COLOURED:], 1
    elif unbroken(tail)[-_LEAST_BROKEN:] not in known.all_unbroken:
        return 0, 0  # as nearly always
    view = substituted(_BETWEEN, tail)
    if view is None or view.data[-least:] not in known.all_unbroken:
        return 0, 0
    size = begun_at_end(view.data[-_MOST_BROKEN:], known.unbroken)
    if size < least:
        return 0, 0
    start, _ = view.origin(len(view.data) - size, len(view.data))
    return len(tail) - start, size


def encoded_beginnings(raw: bytes) -> Iterator[bytes]:
    """Yield how `raw` begins in base64, at each alignment, in base32, and in hex."""
    start = raw[:_ENCODED_BYTES]
    for offset, undecided in ((0, 0), (1, 2), (2, 3)):
        form = b2a_base64(bytes(offset) + start, newline=False)[undecided:_ENCODED_BYTES]
        yield from in_base64_alphabets(form)
    yield from base32_forms(start)
    for digits in (b2a_hex(start), b2a_hex(start, b" ", -2)):
        yield digits
        yield digits.upper()


def encoded_at_end(tail: bytes, known: Beginnings) -> Iterator[tuple[int, int]]:
    """Yield how many bytes at the end of `tail` may begin a value in base64 or hex, and how much of it."""
    begun = begun_at_end(tail[-2 * _ENCODED_BYTES :], known.encoded)
    if begun:
        yield begun, begun // 2
    run = _last(tail, _OF_BASE64[:-1])
    if len(run) < _LEAST_ENCODED:
        return
    text = run.replace(b"-", b"+").replace(b"_", b"/")
    for shift in range(4):
        rest = text[shift:]
        usable = len(rest) - (len(rest) % 4 == 1)
        size = begun_at_end(a2b_base64(rest[:usable] + b"=" * (-usable % 4)), known.values)
        if size >= _EVIDENCE:
            yield min(len(text), (size + 2) * 4 // 3 + 3), size
    digits = _last(run, _OF_HEX)
    if len(digits) >= _LEAST_DIGITS:
        for cut in (0, 1):
            usable_digits = digits[: len(digits) - cut]
            size = begun_at_end(a2b_hex(usable_digits[len(usable_digits) % 2 :]), known.values)
            if size >= _EVIDENCE:
                yield min(len(digits), 2 * size + 2), size


def _last(tail: bytes, signs: bytes) -> bytes:
    """Return the longest end of `tail` that has only `signs`."""
    size = min(len(tail) - len(tail.rstrip(signs)), _LONGEST_ENCODED)
    return tail[len(tail) - size :]


def maybe_encoded_at_end(data: bytes, most: int) -> int:
    """Return how many bytes at the end of `data` may begin anything that is encoded.

    In a line with escapes, and in a dump, these are up to `most` bytes; elsewhere fewer.
    """
    tail = data[-_MOST_HELD:]
    listed = len(tail) - len(tail.rstrip(_OF_LISTS))
    if listed >= _LEAST_LISTED:
        digits = len(tail[-listed:].translate(None, _NO_DIGITS))
        listed = listed if 4 * digits >= listed else 0
    else:
        listed = 0
    coded = len(tail) - len(tail.removesuffix(b"\r").rstrip(_OF_BASE64))
    size = max(listed, coded if coded >= _LEAST_BASE64 else 0)
    backwards = tail[::-1]
    for signs, pattern in _APART:
        apart = pattern.match(backwards) if any(sign in backwards for sign in signs) else None
        if apart is not None:
            size = max(size, apart.end())
    line = len(tail) - tail.rfind(b"\n") - 1
    if any(sign in tail[-line:] for sign in _STRUCK_OUT) or _is_coloured_base64(tail[-line:]):
        size = max(size, line)
    unended = data[data.rfind(b"\n", max(0, len(data) - most)) + 1 :][-most:]
    if _ESCAPED.search(unended) is not None:
        size = max(size, len(unended))
    return max(size, dumped_at_end(data, most), _coded_lines_at_end(data, most))


def _coded_lines_at_end(data: bytes, most: int) -> int:
    """Return how many bytes at the end may be what was encoded and then broken into lines: up to `most`."""
    begin = at = data.rfind(b"\n") + 1
    if not at or not _CODED.fullmatch(data, at):
        return 0
    while len(data) - at < most:
        before = data.rfind(b"\n", 0, at - 1) + 1
        line = _CODED_LINE.fullmatch(data, before, at)
        if line is None:
            break
        at = before
        if not at:
            return len(data)
    # What is encoded may begin within a line.
    at = _begin_of_coded(data[max(data.rfind(b"\n", 0, at - 1) + 1, len(data) - most) : at], at)
    return len(data) - at if at < begin else 0


def _begin_of_coded(line: bytes, end: int) -> int:
    """Return where a long word or numbers begin that end `line`, whose own end is at `end`; or `end`."""
    whole = line.removesuffix(b"\n").removesuffix(b"\r")
    listed = whole.removesuffix(b"\\")
    word = max(whole.rfind(b" "), whole.rfind(b"\t")) + 1
    numbers = len(listed.rstrip(_OF_CODED_END))
    begins = [len(line)]
    if len(whole) - word >= _LEAST_CODED_END:
        begins.append(word)
    if len(listed) - numbers >= _LEAST_CODED_END:
        begins.append(numbers - listed[:numbers].endswith(b"["))
    return end - len(line) + min(begins)


def _is_coloured_base64(line: bytes) -> bool:
    """Return whether what may be base64 ends `line`, with colours in it."""
    if b"\x1b" not in line:
        return False
    plain = _COLOUR.sub(b"", line)
    coded = len(plain) - len(plain.rstrip(_OF_BASE64))
    return coded >= _LEAST_BASE64 and len(line) - len(line.rstrip(_OF_BASE64)) < coded
