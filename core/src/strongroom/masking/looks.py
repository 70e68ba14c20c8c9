"""What one character of a value may look like in output, and what may be between two characters.

There is one table for all encoders, so that nothing has to guess which characters an encoder escapes. The
documentation shows `LOOKS`, too.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from functools import cache, lru_cache

from strongroom.masking.compiled_later import compiled_later
from strongroom.runtime.frozen import NamedTuple

__all__ = [
    "LOOKS",
    "Look",
    "escape_end",
    "reread_left",
    "reread_right",
    "shown",
    "step_left",
    "step_right",
    "width",
]


class Look(NamedTuple):
    """One way to write a character: its name, an example, programs that write so, and its patterns."""

    name: str
    example: str
    seen_in: str
    pattern: Callable[[str], Iterator[bytes]]


_NAMES = {"\n": b"n", "\r": b"r", "\t": b"t", "\x1b": b"[eE]", "\0": b"0", "\a": b"a", "\b": b"b"}
_NAMES |= {"\v": b"v", "\f": b"f", " ": b"[s_]"}
_TWICE = rb"%(?:25){0,3}"  # a percent sign, also encoded again
_HEX_SLASH = rb"\\{1,16}(?:x|u00)5[cC]"  # an encoder's own backslash, written in hexadecimal by the next one
_SLASHES = (
    rb"(?:(?:"
    + _HEX_SLASH
    + rb"){1,16}|\\{1,16}|(?:"
    + _TWICE
    + rb"5[cC]){1,16}|(?:&#(?:92|[xX]5[cC]);){1,16})"
)
_AMPERSAND = rb"(?:&|" + _TWICE + rb"26|\\{1,16}(?:u00|x)26)"
_SEMICOLON = rb"(?:;|" + _TWICE + rb"3[bB])"
_EQUALS = rb"(?:=(?:3[dD]){0,3}|" + _TWICE + rb"3[dD]|\\x3[dD]|&#(?:61|[xX]3[dD]);)"
_HIGH = 0x80
_UTF8_CONTINUATION = 0x80
_BACKSLASH = ord("\\")
_END_OF_TAG = ord(">")
_WIDEST = 4
_IN_ZSH_HISTORY = {byte: b"\x83%c" % (byte ^ 32) for byte in range(0x83, 0xA3)}
_LEAST_SHOWN = 0xA0  # `cat -v` shows bytes below as control characters
_LETTERS_AND_DIGITS = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")


def _bytes_of(char: str) -> bytes:
    return char.encode(errors="surrogatepass")


def _itself(char: str) -> Iterator[bytes]:
    if char == "\\":
        yield _SLASHES
    else:  # programs that know bytes alone escape each of a character's
        yield b"".join(rb"\\{0,16}" + re.escape(bytes([byte])) for byte in _bytes_of(char))
    if char == "\n":
        yield rb"\r\n"
        yield rb"(?i:<br ?/?>)\r?\n?"
    elif char == " ":
        yield rb"\t"
        yield rb"\xc2\xa0"
        yield rb"['\"], ?['\"]"  # where the words are a list
    elif char == "/":
        yield b"-"  # in the names of systemd's units


def _bracketed(char: str) -> Iterator[bytes]:
    if not char.isalnum():
        yield rb"\[" + re.escape(_bytes_of(char)) + rb"\]"


def _in_a_name(char: str) -> Iterator[bytes]:
    if not char.isalnum() or not char.isascii():
        yield b"".join(rb"_(?i:%02x)" % byte for byte in _bytes_of(char)) + rb"(?:_(?![0-9A-F]{2}_))?"


def _named(char: str) -> Iterator[bytes]:
    if char in _NAMES:
        yield _SLASHES + _NAMES[char]


def _percent(char: str) -> Iterator[bytes]:
    # Backslashes of the encoder before may come first, encoded too.
    slashes = rb"(?:" + _TWICE + rb"5[cC]){0,16}"
    yield slashes + b"".join(_TWICE + rb"(?i:%02x)" % byte for byte in _bytes_of(char))
    if len(char.encode("utf-16-be", errors="surrogatepass")) == 2:  # noqa: PLR2004  # one unit
        yield rb"%%u(?i:%04x)" % ord(char)
    if _HIGH <= ord(char) < 0x100:  # noqa: PLR2004  # as `escape` of JavaScript, and forms in Latin-1
        yield _TWICE + rb"(?i:%02x)" % ord(char)
    if char == " ":
        yield rb"\+"


def _hexadecimal(char: str) -> Iterator[bytes]:
    before = rb"(?:" + _HEX_SLASH + rb"){0,16}"
    yield before + b"".join(
        _SLASHES + rb"(?:x?[\[{]?(?i:%02x)[\]}]?|%03o)" % (byte, byte) for byte in _bytes_of(char)
    )
    if char >= "\x80":  # its bytes, each taken for a character, as OpenSSL writes names
        again = _bytes_of(char).decode("latin-1").encode()
        yield b"".join(rb"\\(?i:%02x)" % byte for byte in again)
    if _HIGH <= ord(char) < 0x100:  # noqa: PLR2004  # as above
        yield _SLASHES + rb"(?:x(?i:%02x)|%03o)" % (ord(char), ord(char))


def _number_sign(char: str) -> Iterator[bytes]:
    yield b"".join(rb"#(?:%03o|(?i:%02x))" % (byte, byte) for byte in _bytes_of(char))


def _macro(char: str) -> Iterator[bytes]:
    if not char.isalnum() and char not in " \n\t":
        yield rb"\{?\\[A-Za-z]{2,24}(?:\{\}\}?|\}| )"
    if not (char.isalnum() and char.isascii()):
        yield rb"\\\[[A-Za-z0-9:'^`,~\"]{1,12}\]"
        yield rb"\\\([a-z:'`^,][a-zA-Z]"


def _octal(char: str) -> Iterator[bytes]:
    yield b"".join(_SLASHES + b"%03o" % byte for byte in _bytes_of(char))
    yield b"".join(_SLASHES + b"%d" % byte for byte in _bytes_of(char))
    yield _SLASHES + rb"%d(?:\\{1,16}&)?" % ord(char)


def _code_point(char: str) -> Iterator[bytes]:
    point = ord(char)
    yield _SLASHES + rb"[ux]\{0{0,6}(?i:%x)\}" % point
    yield _SLASHES + rb"U(?i:%08x)" % point
    yield _SLASHES + rb"0{0,4}(?i:%x) " % point
    units = char.encode("utf-16-be", errors="surrogatepass")
    yield b"".join(
        _SLASHES + rb"u(?i:%s)" % units[at : at + 2].hex().encode() for at in range(0, len(units), 2)
    )
    yield rb"_x(?i:%04x)_" % point  # .NET's names and messages in XML
    if point >= _HIGH:  # its bytes, each taken for a character
        yield b"".join(rb"&#(?:%d|[xX]0{0,4}(?i:%x));" % (byte, byte) for byte in _bytes_of(char))
    name = unicodedata.name(char, "")
    if point >= _HIGH and name:
        yield _SLASHES + rb"N\{" + re.escape(name.encode()) + rb"\}"


@cache
def _entities() -> dict[str, list[bytes]]:
    from html.entities import html5  # takes longer to import than most that is masked

    names: dict[str, list[bytes]] = {" ": [b"nbsp"]}
    for name, text in html5.items():
        if name.endswith(";"):
            names.setdefault(text, []).append(re.escape(name[:-1].encode()))
    return names


def _entity(char: str) -> Iterator[bytes]:
    number = rb"0{0,4}%d|[xX]0{0,4}(?i:%x)" % (ord(char), ord(char))
    name = b"".join(b"|" + one for one in _entities().get(char, ()))
    # In a URL or in JSON its own signs are escaped; for JSON in HTML a backslash may come first.
    yield (
        rb"\\{0,16}" + _AMPERSAND + rb"(?:amp" + _SEMICOLON + rb"){0,3}"
        rb"(?:(?:#|" + _TWICE + rb"23)(?:" + number + rb")" + name + rb")" + _SEMICOLON + rb"?"
    )


def _quoted_printable(char: str) -> Iterator[bytes]:
    yield b"".join(_EQUALS + rb"(?i:%02x)" % byte for byte in _bytes_of(char))


def _caret(char: str) -> Iterator[bytes]:
    data = _bytes_of(char)
    if data[0] >= _HIGH:
        for control in (rb"\^", rb"\\?C-"):
            yield b"".join(
                rb"\\?M(?:-|(?=\^))"
                + (control if byte < _LEAST_SHOWN else b"")
                + re.escape(bytes([_printable(byte)]))
                for byte in data
            )
    elif data[0] < ord(" "):
        yield rb"\^" + re.escape(bytes([data[0] + 64]))


def _printable(byte: int) -> int:
    return byte - _HIGH if byte >= _LEAST_SHOWN else byte - _HIGH + 64


def _other_alphabets(char: str) -> Iterator[bytes]:
    if ord(char) < _HIGH:
        return
    data = _bytes_of(char)
    # Each byte taken for a character of Latin-1, and encoded again, or escaped as it cannot be shown.
    yield b"".join(
        rb"(?:%b|" % re.escape(bytes([byte]).decode("latin-1").encode())
        + rb"%b|" % re.escape(bytes([byte]).decode("cp1252", errors="replace").encode())
        + _SLASHES
        + rb"(?:(?:x|u00)(?i:%02x)|%03o))" % (byte, byte)
        + (b"?" if byte < _LEAST_SHOWN else b"")  # a control character, that some leave out
        for byte in data
    )
    yield re.escape(data.decode("cp1252", errors="ignore").encode())
    yield re.escape(b"".join(_IN_ZSH_HISTORY.get(byte, b"%c" % byte) for byte in data))
    for name in ("latin-1", "cp437", "koi8-r"):
        yield re.escape(char.encode(name, errors="ignore"))
    yield re.escape(unicodedata.normalize("NFD", char).encode(errors="surrogatepass"))
    yield rb"[?.]{1,4}"
    yield rb"\n"  # where only what is ASCII is shown, a run a line
    yield rb"(?:\xef\xbf\xbd){1,4}"


LOOKS = (
    Look("itself, with backslashes before it", 'a\\"b', "shells, C, Java properties, `printf %q`", _itself),
    Look("backslash and a letter", "\\n", "JSON, Python, shells", _named),
    Look("an entity, also encoded again, and in a URL", "&amp;#252;, %26quot%3B", "HTML, XML", _entity),
    Look("percent and hexadecimal digits, also encoded again", "%2F, %252F", "URLs", _percent),
    Look("backslash and hexadecimal digits", "\\xfc, \\5c", "Python, nginx, Redis, LDAP", _hexadecimal),
    Look("backslash and octal or decimal digits", "\\303\\274", "strace, git, sed, Lua", _octal),
    Look("number sign and octal or hexadecimal digits", "#012, #C3#BC", "rsyslog, HAProxy", _number_sign),
    Look("underscore and hexadecimal digits", "_2f", "D-Bus, fish in part", _in_a_name),
    Look("in brackets", "[*]", "globs, regular expressions", _bracketed),
    Look("a macro", "\\textbackslash{}, \\[dq]", "LaTeX, groff", _macro),
    Look("its code point", "\\u00fc, \\u{fc}, \\x{fc}", "JSON, Rust, Perl, YAML", _code_point),
    Look("equals sign and hexadecimal digits", "=C3=BC", "quoted-printable", _quoted_printable),
    Look("caret notation", "M-CM-<", "cat -v, vis", _caret),
    Look("in another alphabet, or a question mark", "Ã¼", "programs in the C locale", _other_alphabets),
)
"""Every way to write a character that is looked for."""

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
    looked_for = _forwards(value[place : place + size])
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


@lru_cache(maxsize=4096)
def _forwards(char: bytes) -> re.Pattern[bytes]:
    return re.compile(_all_looks(char), re.DOTALL)


@lru_cache(maxsize=4096)
def _backwards(char: bytes) -> re.Pattern[bytes]:
    return re.compile(_all_looks(char) + rb"\Z", re.DOTALL)


@cache
def _escaped(sign: bytes) -> re.Pattern[bytes]:
    """Return what finds `sign`, a character of ASCII, written in any way but as itself."""
    return re.compile(_other_looks(sign), re.DOTALL)


@cache
def _ended(sign: bytes) -> re.Pattern[bytes]:
    return re.compile(b"(?:" + _other_looks(sign) + rb")\Z", re.DOTALL)


def _other_looks(sign: bytes) -> bytes:
    return b"|".join(pattern for look in LOOKS[1:] for pattern in look.pattern(sign.decode()) if pattern)


def _all_looks(char: bytes) -> bytes:
    text = char.decode(errors="surrogateescape")
    if len(text) > 1 and text[0] == "\\":
        return _all_looks(b"\\") + _all_looks(char[1:])
    if len(text) != 1 or "\udc80" <= text <= "\udcff":
        return re.escape(char)
    ways = [pattern for look in LOOKS for pattern in look.pattern(text) if pattern]
    return b"(?:" + b"|".join(dict.fromkeys(ways)) + b")"
