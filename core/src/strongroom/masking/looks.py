"""What one character of a value may look like in output.

There is one table for all encoders, so that nothing has to guess which characters an encoder escapes. The
documentation shows `LOOKS`, too. It is loaded when the first character is found that differs.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from functools import cache

from strongroom.runtime.frozen import NamedTuple

__all__ = ["LOOKS", "Look", "all_looks", "other_looks"]


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
_IN_ZSH_HISTORY = {byte: b"\x83%c" % (byte ^ 32) for byte in range(0x83, 0xA3)}
_LEAST_SHOWN = 0xA0  # `cat -v` shows bytes below as control characters


def _bytes_of(char: str) -> bytes:
    return char.encode(errors="surrogatepass")


def _itself(char: str) -> Iterator[bytes]:
    if char == "\\":
        yield _SLASHES
    else:  # programs that know bytes alone escape each of a character's, or break a line between two
        yield rb"(?:\r?\n)?".join(rb"\\{0,16}" + re.escape(bytes([byte])) for byte in _bytes_of(char))
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
        yield _SLASHES + rb"(?:x?(?i:%02x)|%03o)" % (ord(char), ord(char))


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
    yield _SLASHES + rb"U(?i:%08x|%04x)" % (point, point)
    yield _SLASHES + rb"0{0,4}(?i:%x) " % point
    units = char.encode("utf-16-be", errors="surrogatepass")
    yield b"".join(
        _SLASHES + rb"u(?i:%s)" % units[at : at + 2].hex().encode() for at in range(0, len(units), 2)
    )
    yield rb"_x(?i:%04x)_" % point  # .NET's names and messages in XML
    if point >= _HIGH:  # its bytes, each taken for a character
        yield b"".join(
            rb"&(?:#%d|#[xX]0{0,4}(?i:%x)%b);"
            % (byte, byte, b"".join(b"|" + one for one in _named_by(chr(byte))))
            for byte in _bytes_of(char)
        )
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


def _named_by(char: str) -> list[bytes]:
    return _entities().get(char, [])


def _entity(char: str) -> Iterator[bytes]:
    number = rb"0{0,4}%d|[xX]0{0,4}(?i:%x)" % (ord(char), ord(char))
    name = b"".join(b"|" + one for one in _named_by(char))
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
        # As Perl's warnings show it, which leaves other bytes as they are.
        yield b"".join(
            rb"(?:%b|M-\\[0abefnrt]|M-\^%b)"
            % (re.escape(bytes([byte])), re.escape(bytes([_printable(byte)])))
            if byte < _LEAST_SHOWN
            else re.escape(bytes([byte]))
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
    yield re.escape(bytes(byte & 0x7F for byte in data))  # as `od -a` shows it, which drops the eighth bit
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


def other_looks(sign: bytes) -> bytes:
    """Return the pattern of a character of ASCII written in any way but as itself."""
    return b"|".join(pattern for look in LOOKS[1:] for pattern in look.pattern(sign.decode()) if pattern)


def all_looks(char: bytes) -> bytes:
    """Return the pattern of a character, with the backslashes in front of it, written in any way."""
    text = char.decode(errors="surrogateescape")
    if len(text) > 1 and text[0] == "\\":
        return all_looks(b"\\") + all_looks(char[1:])
    if len(text) != 1 or "\udc80" <= text <= "\udcff":
        return re.escape(char)
    ways = [pattern for look in LOOKS for pattern in look.pattern(text) if pattern]
    return b"(?:" + b"|".join(dict.fromkeys(ways)) + b")"
