"""What one character of a value may look like in output, and what may stand between two of them.

One table for all encoders, so that none of their choices of what to escape has to be guessed.
`LOOKS` is also what the documentation shows.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import NamedTuple

__all__ = ["LOOKS", "Look", "step_left", "step_right"]


class Look(NamedTuple):
    """One way to write a character: its name, an example, the programs known for it, and its pattern."""

    name: str
    example: str
    seen_in: str
    pattern: Callable[[str], Iterator[bytes]]


_NAMES = {"\n": b"n", "\r": b"r", "\t": b"t", "\x1b": b"[eE]", "\0": b"0", "\a": b"a", "\b": b"b"}
_NAMES |= {"\v": b"v", "\f": b"f", " ": b"[s_]"}
_ENTITIES = {'"': b"quot", "&": b"amp", "<": b"lt", ">": b"gt", "'": b"apos", "\n": b"NewLine", "\t": b"Tab"}
_ENTITIES |= {"ä": b"auml", "ö": b"ouml", "ü": b"uuml", "ß": b"szlig", "é": b"eacute", "è": b"egrave"}
_SLASHES = rb"\\{1,16}"
_HIGH = 0x80
_CONTINUES = 0x80
_BACKSLASH = ord("\\")
_WIDEST = 4
_LEAST_SHOWN = 0xA0  # `cat -v` shows bytes below as control characters
_LETTERS_AND_DIGITS = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")


def _bytes_of(char: str) -> bytes:
    return char.encode(errors="surrogatepass")


def _itself(char: str) -> Iterator[bytes]:
    yield _SLASHES if char == "\\" else rb"\\{0,16}" + re.escape(_bytes_of(char))
    if char == "\n":
        yield rb"\r\n"
    elif char == " ":
        yield rb"\t"


def _named(char: str) -> Iterator[bytes]:
    if char in _NAMES:
        yield _SLASHES + _NAMES[char]


def _percent(char: str) -> Iterator[bytes]:
    yield b"".join(rb"%%(?:25){0,3}(?i:%02x)" % byte for byte in _bytes_of(char))
    if len(char.encode("utf-16-be", errors="surrogatepass")) == 2:  # noqa: PLR2004
        yield rb"%%u(?i:%04x)" % ord(char)
    if char == " ":
        yield rb"\+"


def _hexadecimal(char: str) -> Iterator[bytes]:
    yield b"".join(_SLASHES + rb"x?(?i:%02x)" % byte for byte in _bytes_of(char))
    if ord(char) < 0x100:  # noqa: PLR2004
        yield _SLASHES + rb"x(?i:%02x)" % ord(char)


def _octal(char: str) -> Iterator[bytes]:
    yield b"".join(_SLASHES + b"%03o" % byte for byte in _bytes_of(char))
    yield b"".join(_SLASHES + b"%d" % byte for byte in _bytes_of(char))


def _code_point(char: str) -> Iterator[bytes]:
    point = ord(char)
    yield _SLASHES + rb"[ux]\{0{0,6}(?i:%x)\}" % point
    yield _SLASHES + rb"U(?i:%08x)" % point
    units = char.encode("utf-16-be", errors="surrogatepass")
    yield b"".join(
        _SLASHES + rb"u(?i:%s)" % units[at : at + 2].hex().encode() for at in range(0, len(units), 2)
    )
    name = unicodedata.name(char, "")
    if point >= _HIGH and name:
        yield _SLASHES + rb"N\{" + re.escape(name.encode()) + rb"\}"


def _entity(char: str) -> Iterator[bytes]:
    yield rb"&(?:amp;){0,3}(?:#0{0,4}%d|#[xX]0{0,4}(?i:%x)" % (ord(char), ord(char)) + (
        b"|" + _ENTITIES[char] + b");?" if char in _ENTITIES else b");?"
    )


def _quoted_printable(char: str) -> Iterator[bytes]:
    yield b"".join(rb"=(?i:%02x)" % byte for byte in _bytes_of(char))


def _caret(char: str) -> Iterator[bytes]:
    data = _bytes_of(char)
    if data[0] >= _HIGH:
        for control in (rb"\^", rb"\\?C-"):
            yield b"".join(
                rb"\\?M-" + (control if byte < _LEAST_SHOWN else b"") + re.escape(bytes([_shown(byte)]))
                for byte in data
            )
    elif data[0] < ord(" "):
        yield rb"\^" + re.escape(bytes([data[0] + 64]))


def _shown(byte: int) -> int:
    return byte - _HIGH if byte >= _LEAST_SHOWN else byte - _HIGH + 64


def _other_alphabets(char: str) -> Iterator[bytes]:
    if ord(char) < _HIGH:
        return
    data = _bytes_of(char)
    yield re.escape(data.decode("latin-1").encode())  # taken for Latin-1, and encoded again
    yield re.escape(data.decode("cp1252", errors="ignore").encode())
    for name in ("latin-1", "cp437", "koi8-r"):
        yield re.escape(char.encode(name, errors="ignore"))
    yield re.escape(unicodedata.normalize("NFD", char).encode(errors="surrogatepass"))
    yield rb"[?.]{1,4}"
    yield rb"(?:\xef\xbf\xbd){1,4}"


LOOKS = (
    Look("itself, with backslashes before it", 'a\\"b', "shells, C, Java properties, `printf %q`", _itself),
    Look("backslash and a letter", "\\n", "JSON, Python, shells", _named),
    Look("percent and hexadecimal digits, also encoded again", "%2F, %252F", "URLs", _percent),
    Look("backslash and hexadecimal digits", "\\xfc, \\5c", "Python, nginx, Redis, LDAP", _hexadecimal),
    Look("backslash and octal or decimal digits", "\\303\\274", "strace, git, sed, Lua", _octal),
    Look("its code point", "\\u00fc, \\u{fc}, \\x{fc}", "JSON, Rust, Perl, YAML", _code_point),
    Look("an entity, also encoded again", "&amp;#252;", "HTML, XML", _entity),
    Look("equals sign and hexadecimal digits", "=C3=BC", "quoted-printable", _quoted_printable),
    Look("caret notation", "M-CM-<", "cat -v, vis", _caret),
    Look("in another alphabet, or a question mark", "Ã¼", "programs in the C locale", _other_alphabets),
)
"""Every way to write a character that is looked for."""

_COLOUR = rb"\x1b\[[0-9;?]{0,24}[ -/]?[@-~]"
_BORDER = rb"[ \t|'\"\\.+>~\xe2\x80-\xbf]"
_WRAP = rb"(?:=?%b{0,80}\r?\n|(?<=\n))(?:[0-9a-f]{4,8}:? )?%b{0,80}" % (_BORDER, _BORDER)
_BETWEEN = rb"(?:%b){0,4}(?:%b)?(?:%b){0,4}[\\'\"$%%`\x08\r]{0,6}" % (_COLOUR, _WRAP, _COLOUR)
_AFTER = re.compile(_BETWEEN)
_BEFORE = re.compile(_BETWEEN + rb"\Z")
_REACH = 176  # more than any of these patterns is long
_NEAR = 40  # as long as the longest way to write a character, with few exceptions
_MOST_QUOTES = 7
_ENDS_SO = re.compile(rb"[\\%&=^\x1b\n]")
_BLANK = b" \t\r\n"
_DROPPED = _BLANK + b"\\"
_BEGUN = {
    ord("&"): re.compile(rb"(?:amp;)*(?:amp;|#0*38;|#x0*26;)"),
    ord("%"): re.compile(rb"(?:25)+"),
    ord("="): re.compile(rb"3[dD]"),
    ord("\\"): re.compile(rb"\\*(?:x5[cC]|5[cC]|134|u005[cC])"),
}
"""What follows a character that is escaped by itself and more."""

Step = tuple[int, int]
"""Where the text and where the value go on."""


def step_right(data: bytes, at: int, value: bytes, place: int) -> Step | None:  # cases
    """Return where both go on where `data` at `at` shows the character of `value` at `place` differently."""
    begun = _BEGUN.get(data[at - 1])
    rest = begun.match(data, at) if begun is not None else None
    if rest is not None:
        return rest.end(), place
    if data[at] in _LETTERS_AND_DIGITS and value[place] < _HIGH and value[place] not in _BLANK:
        return None  # no way to write it begins so
    end = max(at, _end_of_between(data, at))
    if value[place] in _BLANK and b"\n" in data[at:end]:
        return end, place + 1
    if value[place] in _LETTERS_AND_DIGITS:
        # No encoder changes these: what differs can only stand between.
        return (end, place) if at < end < len(data) and data[end] == value[place] else None
    size = width(value, place)
    looked_for = _forwards(value[place : place + size])
    for begin in (at, *range(end, max(at, end - _MOST_QUOTES), -1)):
        shown = looked_for.match(data, begin)
        if shown is not None:
            return shown.end(), place + size
    # Blanks in a row become one, and whoever takes backslashes away takes the value's along.
    return (at, place + 1) if value[place] in _DROPPED and place + 1 < len(value) else None


def step_left(data: bytes, at: int, value: bytes, place: int) -> Step | None:  # cases
    """Return where both begin where `data` before `at` shows the character before `place` differently."""
    last = value[place - 1]
    if last in _LETTERS_AND_DIGITS and data[at - 1] in _LETTERS_AND_DIGITS:
        return None
    differs = last < _HIGH and data[at - 1] in _LETTERS_AND_DIGITS
    if differs and not _ENDS_SO.search(data, max(0, at - _NEAR), at):
        return None
    reach = _REACH if b"\n" in data[max(0, at - _REACH) : at] else _NEAR
    low = max(0, at - reach)
    between = _BEFORE.search(data, low, at)
    begin = between.start() if between is not None else at
    if last in _BLANK and b"\n" in data[begin:at]:
        return begin, place - 1
    if last in _LETTERS_AND_DIGITS:
        return (begin, place) if 0 < begin < at and data[begin - 1] == last else None
    size = 1
    while value[place - size] & 0xC0 == _CONTINUES and size < min(_WIDEST, place):
        size += 1
    while size < place and value[place - size - 1] == _BACKSLASH and size < _REACH:
        size += 1  # how many of the backslashes in front are whose, only the whole of it tells
    looked_for = _backwards(value[place - size : place])
    for end in (at, *range(begin, min(at, begin + _MOST_QUOTES))):
        shown = looked_for.search(data, max(0, end - _NEAR), end)
        if shown is not None:
            return shown.start(), place - size
    return (at, place - 1) if last in _DROPPED and place > 1 else None


def _end_of_between(data: bytes, at: int) -> int:
    between = _AFTER.match(data, at)
    return at if between is None else between.end()


def width(data: bytes, at: int) -> int:
    """Return how many bytes the character of UTF-8 has that begins at `at`."""
    first = data[at]
    return 1 if first < 0xC0 else 2 if first < 0xE0 else 3 if first < 0xF0 else _WIDEST  # noqa: PLR2004


@lru_cache(maxsize=4096)
def _forwards(char: bytes) -> re.Pattern[bytes]:
    return re.compile(_any(char), re.DOTALL)


@lru_cache(maxsize=4096)
def _backwards(char: bytes) -> re.Pattern[bytes]:
    return re.compile(_any(char) + rb"\Z", re.DOTALL)


def _any(char: bytes) -> bytes:
    text = char.decode(errors="surrogateescape")
    if len(text) > 1 and text[0] == "\\":
        return _any(b"\\") + _any(char[1:])
    if len(text) != 1 or "\udc80" <= text <= "\udcff":
        return re.escape(char)
    ways = [pattern for look in LOOKS for pattern in look.pattern(text) if pattern]
    return b"(?:" + b"|".join(dict.fromkeys(ways)) + b")"
