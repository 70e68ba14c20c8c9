"""Steps over one character of a value that a text writes differently, and over what is between two."""

from __future__ import annotations

import re
from functools import cache, lru_cache

from strongroom.masking.compiled_later import compiled_later

__all__ = [
    "escape_end",
    "reread_left",
    "reread_right",
    "shown",
    "step_left",
    "step_right",
    "width",
]

_TWICE = rb"%(?:25){0,3}"  # a percent sign, also encoded again
_HIGH = 0x80
_UTF8_CONTINUATION = 0x80
_BACKSLASH = ord("\\")
_END_OF_TAG = ord(">")
_WIDEST = 4
_LETTERS_AND_DIGITS = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")

_ESCAPE_SIGN = rb"(?:\x1b|\\{1,8}(?:u001[bB]|x1[bB]|033|[eE])|\^\[)"
_COLOUR = _ESCAPE_SIGN + rb"\[[0-9;:?]{0,40}[ -/]?[@-~]"
_TAG = rb"</?[A-Za-z][^<>\n]{0,80}>"
_UNSEEN = rb"\xe2\x80[\x8b-\x8d]|\xc2\xad|&(?:shy|#8203|ZeroWidthSpace);"  # where a line may be broken
_MARKUP = rb"(?:%b|%b|%b)" % (_COLOUR, _TAG, _UNSEEN)
_BORDER = rb"[ \t|'\"\\.+>~#*/;!\xe2\x80-\xbf-]"
_WRAP = rb"(?:=?%b{0,80}(?:\r?\n){1,2}|(?<=\n))(?:[0-9a-f]{4,8}:? )?%b{0,80}(?:[bBrRuU](?=['\"])['\"])?" % (
    _BORDER,
    _BORDER,
)
_LISTED = rb"\\{0,8}['\"],\s{0,24}[bBrRuU]?\\{0,8}['\"]"  # where its pieces are a list
_BETWEEN = rb"%b{0,4}(?:%b|%b)?%b{0,4}\\{0,16}[\\'\"$%%`^\x08\r]{0,6}" % (_MARKUP, _LISTED, _WRAP, _MARKUP)
_ESCAPED_BETWEEN = (
    rb"(?:(?P<lines>(?:\\{1,16}(?:r\\{1,16})?n|(?:%b0[dD])?%b0[aA]|&#(?:0{0,4}1[03]|[xX]0{0,4}[aAdD]);){1,2})"
    rb"%b{0,80}|(?:%b2[27]))"
) % (_TWICE, _TWICE, _BORDER, _TWICE)
_AFTER = compiled_later(_BETWEEN)
_BEFORE = compiled_later(_BETWEEN + rb"\Z")
_AFTER_ESCAPED = compiled_later(_ESCAPED_BETWEEN)
_BEFORE_ESCAPED = compiled_later(rb"(?:" + _ESCAPED_BETWEEN + rb")\Z")
_LINE_END = compiled_later(rb"\r?\n")
_LONGEST_ESCAPE = 12
_REACH = 176  # more than any of these patterns is long
_NEAR = 40  # as long as the longest way to write a character, with few exceptions
_MOST_QUOTES = 7
_ENDS_SO = compiled_later(rb"[\\%&=^#\x1b\n]")
_BEGIN_ESCAPED = b"\\%&"
_CLOSED = b"%&"  # what follows a backslash may be text
_LONGEST_ALIKE = 6  # of an escape, which may begin as the value does
_BLANK = b" \t\r\n"
_BLANKS = frozenset((b" ", b"\t"))
_IN_LINES = b" \t"
_MOST_BLANKS = 80  # in a row, of which a value has one
_DROPPED = _BLANK + b"\\"
_BEGUN = {
    ord("&"): compiled_later(rb"(?:amp;){0,16}(?:amp;|#0{0,4}38;|#x0{0,4}26;)"),
    ord("%"): compiled_later(rb"(?:25){1,16}"),
    ord("="): compiled_later(rb"(?:3[dD]){1,16}"),
    ord("\\"): compiled_later(
        rb"\\*(?:x5[cC]|5[cC]|134|u005[cC]|e|\[rs\]|\(rs|PYZbs\{\}|textbackslash(?:\{\}| )?)"
    ),
}
"""What follows a character that is escaped by itself and more."""

Step = tuple[int, int]
"""Where the text goes on, and where the value does."""


def step_right(data: bytes, at: int, value: bytes, place: int) -> Step | None:
    """Return where both go on behind the character at `place`, which `data` writes differently at `at`.

    None means that the text does not go on as the value does.
    """
    passed = _passed_over(data, at, value, place)
    if passed is not None:
        return passed
    if data[at] in _LETTERS_AND_DIGITS and value[place] < _HIGH and value[place] not in _BLANK:
        # No way to write it begins so; but a backslash may have been taken away.
        return (at, place + 1) if value[place] == _BACKSLASH and place + 1 < len(value) else None
    end = max(at, _end_of_between(data, at))
    is_line_end = value[place] in _BLANK and b"\n" in data[at:end]
    behind = place + is_line_end
    end = at + _without_end(data[at:end], value[behind : behind + _LONGEST_ESCAPE])
    if is_line_end:
        return end, place + 1
    step = _shown_right(data, at, end, value, place)
    if step is None and data[at] in _BEGIN_ESCAPED:
        # A line was broken, or a quote doubled, before this was encoded.
        between = _AFTER_ESCAPED.match(data, at)
        if between is not None and value[place] in _BLANK:
            return between.end(), place + 1
        if between is not None:
            # What follows the line's end may be a border, or the value's own.
            begin = between.end("lines") if between["lines"] else between.end()
            step = _shown_right(data, begin, between.end(), value, place)
    if step is None and value[place] in _DROPPED and place + 1 < len(value):
        # Blanks in a row become one, and a program that removes backslashes removes the value's too.
        return at, place + 1
    return step


def _passed_over(data: bytes, at: int, value: bytes, place: int) -> Step | None:
    """Return where both go on behind the rest of an escape, or behind blanks for one blank or tab."""
    begun = _BEGUN.get(data[at - 1])
    rest = begun.match(data, at) if begun is not None else None
    if rest is not None:
        return rest.end(), place
    if data[at] not in _IN_LINES:
        return None
    blanks = data[at : at + _MOST_BLANKS]
    end = at + len(blanks) - len(blanks.lstrip(_IN_LINES))
    if value[place] in _IN_LINES:
        return end, place + 1
    if data[at - 1] not in _IN_LINES or value[place - 1] not in _IN_LINES:
        return None
    # So many have been passed over already: the value would go on through any number of them.
    row = data[max(0, at - _MOST_BLANKS) : at]
    return (end, place) if len(row) < _MOST_BLANKS or row.strip(_IN_LINES) else None


def reread_right(data: bytes, at: int, value: bytes, place: int) -> Step | None:
    """Return where both go on if a sign shortly before, which is alike in both, begins an escape in `data`.

    `%2529` begins as a value `%29` does, and `%0A%25` as `%`.
    """
    for back in range(1, min(_LONGEST_ALIKE, at, place) + 1):
        begin, own = at - back, place - back
        if data[begin] != value[own]:
            return None
        if data[begin] not in _BEGUN:
            continue
        escaped = _escaped(value[own : own + 1]).match(data, begin)
        if escaped is not None and escaped.end() > at:
            return escaped.end(), own + 1
        broken = _AFTER_ESCAPED.match(data, begin)
        if broken is not None and broken.end("lines") > at:
            return broken.end("lines"), own
    return None


def reread_left(data: bytes, at: int, value: bytes, place: int) -> Step | None:
    """Return where both begin if a semicolon shortly behind, alike in both, ends an escape in `data`."""
    behind = value[place : place + _LONGEST_ALIKE].find(b";")
    if behind < 0 or data[at : at + behind + 1] != value[place : place + behind + 1]:
        return None
    end = at + behind + 1
    escaped = _ended(b";").search(data, max(0, end - _NEAR), end)
    return None if escaped is None or escaped.start() >= at else (escaped.start(), place + behind)


def escape_end(data: bytes, at: int) -> int:
    """Return where the escape ends whose sign, the last one of a value, is before `at`; or `at`."""
    sign = data[at - 1]
    rest = _BEGUN[sign].match(data, at) if sign in _CLOSED else None
    return at if rest is None else rest.end()


def _shown_right(data: bytes, at: int, end: int, value: bytes, place: int) -> Step | None:
    """Return where both go on behind the character at `place`, which `data` may show at `at` or `end`."""
    if value[place] in _LETTERS_AND_DIGITS:
        # No encoder changes these: what differs can only be between them.
        return (end, place) if end < len(data) and data[end] == value[place] else None
    size = width(value, place)
    char = value[place : place + size]
    if size > 1 and data.startswith(char, end):  # else the line end before it would be taken for it
        return end + size, place + size
    looked_for = _forwards(char)
    for begin in (at, *range(end, max(at, end - _MOST_QUOTES), -1)):
        shown = looked_for.match(data, begin)
        if shown is not None:
            return shown.end(), place + size
    broken = _LINE_END.search(data, at, at + _LONGEST_ESCAPE) if data[at : at + 1] in _BEGIN_ESCAPED else None
    if broken is not None:  # within the escape
        whole = data[at : broken.start()] + data[broken.end() : broken.end() + _NEAR]
        shown = looked_for.match(whole)
        if shown is not None:
            return at + shown.end() + broken.end() - broken.start(), place + size
    return None


def step_left(data: bytes, at: int, value: bytes, place: int) -> Step | None:
    """Return where both begin before the character in front of `place`, which `data` writes differently.

    None means that what is before `at` is not a part of the value.
    """
    last = value[place - 1]
    if data[at - 1] in _IN_LINES:
        blanks = data[max(0, at - _MOST_BLANKS) : at]
        begin = at - len(blanks) + len(blanks.rstrip(_IN_LINES))
        if last in _IN_LINES:
            return begin, place - 1
        row = data[at : at + _MOST_BLANKS]
        if row[:1] in _BLANKS and value[place : place + 1] in _BLANKS:
            return (begin, place) if len(row) < _MOST_BLANKS or row.strip(_IN_LINES) else None
    near = data[max(0, at - _NEAR) : at]
    step = _step_left(data, at, value, place)
    if step is None and any(first in near for first in _BEGIN_ESCAPED):
        between = _BEFORE_ESCAPED.search(data, max(0, at - _REACH), at)
        if between is not None and last in _BLANK:
            return between.start(), place - 1
        if between is not None and data[between.start() - 1 : between.start()] == value[place - 1 : place]:
            return between.start(), place
        if between is not None and last not in _LETTERS_AND_DIGITS:
            step = _shown_left(data, between.start(), between.start(), value, place)
    return step


def _step_left(data: bytes, at: int, value: bytes, place: int) -> Step | None:
    last = value[place - 1]
    if last in _LETTERS_AND_DIGITS and data[at - 1] in _LETTERS_AND_DIGITS:
        return None
    differs = last < _HIGH and data[at - 1] in _LETTERS_AND_DIGITS
    if differs and not _ENDS_SO.search(data, max(0, at - _NEAR), at):
        return (at, place - 1) if last == _BACKSLASH and place > 1 else None
    reach = _REACH if data[at - 1] == _END_OF_TAG or b"\n" in data[max(0, at - _REACH) : at] else _NEAR
    low = max(0, at - reach)
    between = _BEFORE.search(data, low, at)
    begin = between.start() if between is not None else at
    is_line_end = last in _BLANK and b"\n" in data[begin:at]
    before = value[max(0, place - _LONGEST_ESCAPE) : place - is_line_end]
    begin = at - _without_end(data[begin:at][::-1], before[::-1])
    if is_line_end:
        return begin, place - 1
    if last in _LETTERS_AND_DIGITS:
        return (begin, place) if 0 < begin < at and data[begin - 1] == last else None
    step = _shown_left(data, begin, at, value, place)
    return (at, place - 1) if step is None and last in _DROPPED and place > 1 else step


def _shown_left(data: bytes, begin: int, at: int, value: bytes, place: int) -> Step | None:
    """Return where both begin before the character in front of `place`, shown up to `begin` or `at`."""
    size = 1
    while value[place - size] & 0xC0 == _UTF8_CONTINUATION and size < min(_WIDEST, place):
        size += 1
    if size > 1 and data.endswith(value[place - size : place], 0, begin):
        return begin - size, place - size
    while size < place and value[place - size - 1] == _BACKSLASH and size < _REACH:
        size += 1  # how many of the backslashes in front are whose, only the whole of it tells
    looked_for = _backwards(value[place - size : place])
    for end in (at, *range(begin, min(at, begin + _MOST_QUOTES))):
        shown = looked_for.search(data, max(0, end - _NEAR), end)
        if shown is not None:
            return shown.start(), place - size
    low = max(0, at - _NEAR)
    broken = _LINE_END.search(data, max(0, at - _LONGEST_ESCAPE), at)
    if broken is not None:  # within the escape
        whole = data[low : broken.start()] + data[broken.end() : at]
        shown = looked_for.search(whole)
        if shown is not None and low + shown.start() < broken.start():
            return low + shown.start(), place - size
    return None


def _without_end(between: bytes, value: bytes) -> int:
    """Return how long `between` is without what `value` begins with: its signs may be a border's, too."""
    own = next((size for size in range(len(value), 0, -1) if between.endswith(value[:size])), 0)
    return len(between) - own


def _end_of_between(data: bytes, at: int) -> int:
    between = _AFTER.match(data, at)
    return at if between is None else between.end()


def shown(data: bytes, at: int, char: bytes) -> int | None:
    """Return where one character ends that `data` shows at `at` in whatever way; None where it does not."""
    match = _forwards(char).match(data, at)
    return None if match is None else match.end()


def width(data: bytes, at: int) -> int:
    """Return how many bytes the character of UTF-8 has that begins at `at`."""
    first = data[at]
    return 1 if first < 0xC0 else 2 if first < 0xE0 else 3 if first < 0xF0 else _WIDEST  # noqa: PLR2004  # RFC 3629


# The table of looks is loaded here: most text has no character that is written differently.


@lru_cache(maxsize=4096)
def _forwards(char: bytes) -> re.Pattern[bytes]:
    from strongroom.masking.looks import all_looks

    return re.compile(all_looks(char), re.DOTALL)


@lru_cache(maxsize=4096)
def _backwards(char: bytes) -> re.Pattern[bytes]:
    from strongroom.masking.looks import all_looks

    return re.compile(all_looks(char) + rb"\Z", re.DOTALL)


@cache
def _escaped(sign: bytes) -> re.Pattern[bytes]:
    """Return what finds `sign`, a character of ASCII, written in any way but as itself."""
    from strongroom.masking.looks import other_looks

    return re.compile(other_looks(sign), re.DOTALL)


@cache
def _ended(sign: bytes) -> re.Pattern[bytes]:
    from strongroom.masking.looks import other_looks

    return re.compile(b"(?:" + other_looks(sign) + rb")\Z", re.DOTALL)
