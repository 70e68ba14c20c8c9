"""The encodings under which a value may turn up in output, files and logs."""

from __future__ import annotations

import binascii
import json
from collections.abc import Callable, Iterable, Iterator

from strongroom.masking.compiled_later import compiled_later
from strongroom.masking.limits import MIN_CHARACTERS
from strongroom.masking.origins import LEAST

__all__ = ["base32_forms", "forms", "in_base64_alphabets", "json_texts", "members"]

# What common encoders leave as it is: Python's quote, RFC 3986 proper, JavaScript's two, Go's three, Java's.
_URL_SAFE = ("", "/", "~", "!'()*", "!'()*~", ";,/?:@&=+$!'()*#", "!$&'()*+,;=:@", "$&+:=@", "$&+,;=", "*")
_SCRIPT_ESCAPES = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})
_TO_URL_ALPHABET = bytes.maketrans(b"+/", b"-_")
_WRAPPED_AT = (64, 76)  # base64's usual line lengths: PEM, and MIME with the `base64` program
_ENOUGH = 16  # a shorter piece of a wrapped encoding would be an accident
_HEX_ESCAPE = compiled_later("%[0-9A-F]{2}")
_NEVER_ESCAPED = compiled_later("[A-Za-z0-9_.-]+")
_SHELL_SPECIAL = compiled_later(r"([^A-Za-z0-9_@%+=:,./\n-])")
_SHELL_IN_DOUBLE_QUOTES = compiled_later(r'([$`"\\])')
_BASE32 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_TO_BASE32 = _BASE32.ljust(256)
_FEWEST_LISTED, _LEAST_LISTED = 6, 8  # longer lists of numbers or characters are read as such
_MAX_LEAVES = 1000
_LONGEST = 128
_UTF8_CONTINUATION = 0x80


def forms(value: str, *, counts: Callable[[str], bool] | None = None) -> dict[bytes, str]:
    """Return the bytes under which `value` is looked for, each with the name of its encoding.

    No form has more than 128 bytes: longer ones are looked for in overlapping pieces.

    Args:
        value: The secret. Under `MIN_CHARACTERS` there are no forms.
        counts: Whether a line of a multi-line value is a secret by itself; by default each line with
            `MIN_CHARACTERS` is.
    """
    kinds: dict[bytes, str] = {}
    for kind, form in _all_forms(value, counts or _long_enough):
        if len(form) >= MIN_CHARACTERS:
            for piece in _pieces(form):
                kinds.setdefault(piece, kind)
    return kinds


def _pieces(form: bytes) -> Iterator[bytes]:
    """Yield `form`, or where it is long, pieces of it that overlap, so that finds of all are one.

    That bounds what one comparison costs and how much of a stream is held, and finds parts too.
    """
    start, size = 0, len(form)
    while size - start > _LONGEST:
        end = start + _LONGEST
        # Not within a character of UTF-8: what is left has to be text.
        while form[end] & 0xC0 == _UTF8_CONTINUATION:
            end -= 1
        yield form[start:end]
        start = end - 1
        while form[start] & 0xC0 == _UTF8_CONTINUATION:
            start -= 1
    yield form[start:] if start == 0 else form[_begin_of_last(form) :]


def _begin_of_last(form: bytes) -> int:
    start = len(form) - _LONGEST
    while form[start] & 0xC0 == _UTF8_CONTINUATION:
        start += 1
    return start


def json_texts(value: str) -> list[str]:
    """Return the texts inside a JSON object or array: a program that parses it shows these, not the whole."""
    return [text for _, text in members(value)]


def members(value: str) -> list[tuple[str, str]]:
    """Return the texts inside a JSON object or array, each with the name of its member."""
    if value.lstrip()[:1] not in {"{", "["}:
        return []
    try:
        waiting = [("", json.loads(value))]
    except (ValueError, RecursionError):
        return []
    texts: list[tuple[str, str]] = []
    while waiting and len(texts) < _MAX_LEAVES:
        name, item = waiting.pop()
        if isinstance(item, str):
            texts.append((name, item))
        elif isinstance(item, dict):
            waiting.extend(item.items())
        elif isinstance(item, list):
            waiting.extend((name, one) for one in item)
    return texts


def _long_enough(text: str) -> bool:
    return len(text) >= MIN_CHARACTERS


def _all_forms(value: str, counts: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    if not _long_enough(value):
        return
    yield from _encodings(value)
    lines = value.splitlines()
    if lines != [value]:
        # A line without its indentation is found in the indented one too; one of blanks is not a secret.
        for line in dict.fromkeys(line.strip() for line in lines):
            if counts(line):
                yield from _encodings(line)


def _encodings(text: str) -> Iterator[tuple[str, bytes]]:
    raw = text.encode(errors="surrogatepass")
    yield "plain", raw
    yield from (("base64", form) for form in _base64_forms(raw))
    yield from ((name, form) for name, form in _rare_forms(raw) if len(form) < LEAST)
    if _FEWEST_LISTED <= len(raw) < _LEAST_LISTED and not raw.isdigit():  # 1 2 3 4 is an ordinary list
        yield from (("apart", form) for form in _listed(raw))
    yield "hex", raw.hex().encode()
    yield "hex", raw.hex().upper().encode()
    if _NEVER_ESCAPED.fullmatch(text):
        return
    if not text.isascii():
        yield from (("UTF-16", text.encode(one, "surrogatepass")) for one in ("utf-16-le", "utf-16-be"))
    # A terminal turns each line feed into CR LF.
    yield "plain", raw.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    for kind, escaped in (
        ("URL", _url_forms(text)),
        ("JSON", _json_forms(text)),
        ("shell", _shell_forms(text)),
        ("Python", _python_forms(text, raw)),
        ("HTML", _html_forms(text)),
    ):
        for form in escaped:
            yield kind, form.encode(errors="surrogatepass")


def _rare_forms(raw: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield what programs print less often; where it is long, it is found as text that is decoded."""
    once = binascii.b2a_base64(raw, newline=False)
    yield from (("base64", form) for form in _base64_forms(once))
    if 8 * len(raw) < 5 * LEAST:  # of a long one they would not be used, and each digit takes a pass over all
        yield from (("base32", form) for form in base32_forms(raw))
    pairs = raw.hex(" ", -2)
    yield "hex", pairs.encode()
    yield "hex", pairs.upper().encode()


def _base64_forms(raw: bytes) -> Iterator[bytes]:
    for offset, undecided in ((0, 0), (1, 2), (2, 3)):
        # Characters that also depend on the bytes before or behind cannot be known.
        whole = binascii.b2a_base64(bytes(offset) + raw, newline=False).rstrip(b"=")[undecided:]
        sure = whole if (offset + len(raw)) % 3 == 0 else whole[:-1]
        for form in (sure, whole):
            yield from in_base64_alphabets(form)
    whole = binascii.b2a_base64(raw, newline=False).rstrip(b"=")
    for width in _WRAPPED_AT:
        if len(whole) > width:
            pieces = [whole[start : start + width] for start in range(0, len(whole), width)]
            yield from (piece for piece in pieces if len(piece) >= _ENOUGH)


def _listed(raw: bytes) -> Iterator[bytes]:
    """Yield the bytes of a value that has too few to be found as a list."""
    for separator in (b" ", b", ", b",", b"\n"):
        yield separator.join(b"%d" % byte for byte in raw)
        yield separator.join(bytes([byte]) for byte in raw)
        yield separator.join(b"0x%02x" % byte for byte in raw)
    for separator in (b"', '", b'", "', b'","'):
        yield separator.join(bytes([byte]) for byte in raw)
    for before, separator in (b"", b" "), (b"", b":"), (b"", b"-"), (b"%", b"%"), (b"\\x", b"\\x"):
        digits = before + separator.join(b"%02x" % byte for byte in raw)
        yield digits
        yield digits.upper().replace(b"X", b"x")


def in_base64_alphabets(form: bytes) -> Iterator[bytes]:
    """Yield `form`, which is base64, in both alphabets, and with its `+` and `/` escaped."""
    yield form
    if b"+" in form or b"/" in form:
        yield form.translate(_TO_URL_ALPHABET)
        yield form.replace(b"/", b"\\/")
        yield form.replace(b"+", b"%2B").replace(b"/", b"%2F")
        yield form.replace(b"+", b"%2b").replace(b"/", b"%2f")


def base32_forms(raw: bytes) -> Iterator[bytes]:
    """Yield `raw` in base32, in both cases, without the `=` behind it."""
    number = int.from_bytes(raw) << (-8 * len(raw) % 5)
    digits = range(8 * len(raw) // -5 * -5 - 5, -1, -5)
    whole = bytes([number >> low & 31 for low in digits]).translate(_TO_BASE32)
    yield whole
    yield whole.lower()


def _url_forms(text: str) -> Iterator[str]:
    from urllib.parse import quote, quote_plus  # most values do not need it

    data = text.encode(errors="surrogatepass")
    for form in {*(quote(data, safe=safe) for safe in _URL_SAFE), quote_plus(data)}:
        yield form
        yield _HEX_ESCAPE.sub(lambda escape: escape[0].lower(), form)


def _json_forms(text: str) -> Iterator[str]:
    for ascii_only in (True, False):
        plain = json.dumps(text, ensure_ascii=ascii_only)[1:-1]
        for form in (plain, plain.replace("/", "\\/"), plain.translate(_SCRIPT_ESCAPES)):
            yield form
            # JSON inside JSON, as structured logs have it.
            yield json.dumps(form, ensure_ascii=ascii_only)[1:-1]


def _shell_forms(text: str) -> Iterator[str]:
    import shlex  # longer values do not need it

    yield shlex.quote(text).removeprefix("'").removesuffix("'")
    yield text.replace("'", "'\\''")
    yield _SHELL_IN_DOUBLE_QUOTES.sub(r"\\\1", text)
    # `printf %q`: backslashes, or $'…' where there is a control character.
    yield _SHELL_SPECIAL.sub(r"\\\1", text).replace("\n", "'\n'")
    yield _ansi_c(text)


def _ansi_c(text: str) -> str:
    names = {"\n": "\\n", "\t": "\\t", "\r": "\\r", "\\": "\\\\", "'": "\\'", "\x1b": "\\E"}
    return "".join(names.get(one) or (f"\\{ord(one):03o}" if one < " " else one) for one in text)


def _python_forms(text: str, raw: bytes) -> Iterator[str]:
    # The double quote makes Python choose single ones, so that inner ones are escaped.
    for form in (repr(text + '"')[1:-2], ascii(text + '"')[1:-2], repr(raw + b'"')[2:-2]):
        yield form
        yield form.replace("\\'", "'")


def _html_forms(text: str) -> Iterable[str]:
    # As `html.escape` has it, whose module takes longer to import than `run` takes for all else here.
    partly = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    whole = partly.replace('"', "&quot;").replace("'", "&#x27;")
    return (
        partly,
        whole,
        whole.replace("&#x27;", "&#39;"),
        whole.replace("&#x27;", "&apos;"),
        partly.replace('"', "&quot;"),
        whole.replace("&quot;", "&#34;").replace("&#x27;", "&#39;"),
    )
