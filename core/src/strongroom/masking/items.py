"""Lists of characters or numbers: each on a line, with its place before it, or in the quotes of HTML."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet

from strongroom.masking.compiled_later import compiled_later
from strongroom.masking.origins import Joined, View

__all__ = ["ITEMS", "ITEM_BEGINS", "itemized"]

_CHARACTER = rb"(?:\\(?:[^\n'\"]{1,9}|['\"])|''|\"\"|[^\n\\'\"][^\n'\"]{0,3}|['\"])"
"""One character in quotes, as it is or escaped; of UTF-8 it has up to four bytes."""
_EITHER, _QUOTE, _SAME_QUOTE = rb"['\"]", rb"(?P<quote>['\"])", rb"(?P=quote)"
_QUOTED = _QUOTE + rb"(?P<item>" + _CHARACTER + rb")" + _SAME_QUOTE
_ENTITY = rb"&(?:#39|#x27|#34|quot);"
_ARROW = b"=>"
_LEAST = 8


class _Kind:
    """A kind of list: the signs that there may be one, and a pattern of an item with what is before it.

    If `begins` are given, it has one of them. With these the search for all signs takes seven times as long.
    """

    def __init__(self, signs: tuple[bytes, ...], item: bytes, begins: tuple[bytes, ...] = ()) -> None:
        self.signs, self.begins = signs, begins
        self.item = compiled_later(item)
        # Without the names of its groups the pattern may be in another one several times.
        plain = item.replace(_QUOTE, _EITHER).replace(_SAME_QUOTE, _EITHER)
        for name in (b"?P<item>", b"?P<bare>"):
            plain = plain.replace(name, b"?:")
        self.region = compiled_later(b"(?:%b){%d,}" % (plain, _LEAST))


_KINDS = (
    # Python's and JavaScript's objects, and PHP's, by their places.
    _Kind(
        (b'"0":', b"{0: ", _ARROW),
        rb"(?:[{,(]\r?\n?|\n)[ \t]{0,24}[\"']?[0-9]{1,7}[\"']?\s?(?::|=>)\s{0,8}(?:"
        + _QUOTED
        + rb"|(?P<bare>[0-9]{1,3})\b)",
        (b'"0":', b"{0: ", b"0 => "),
    ),
    _Kind(
        (_ARROW,),
        rb"\n[ \t]{0,24}\[[0-9]{1,7}\] => (?P<bare>[^\n]{1,4}|\n?)(?=\r?\n|\Z)",
        (b"0] => ",),
    ),
    _Kind(
        (_ARROW,),
        rb"\n[ \t]{0,24}\[[0-9]{1,7}\]=>\r?\n[ \t]{1,24}"
        rb"(?:int\((?P<bare>[0-9]{1,3})\)|string\([1-4]\) \"(?P<item>[^\n]{1,4}|\n)\")(?=\r?\n|\Z)",
        (b"0]=>",),
    ),
    # Lists of characters in HTML.
    _Kind(
        (b";, &",),
        _ENTITY
        + rb"(?P<item>\\{1,2}[^\n]{1,9}|&[#a-z0-9]{2,8};|[^\n&\\]{1,4})"
        + _ENTITY
        + rb"(?:, |(?=\]))",
    ),
    # A debugger's characters, each behind its number.
    _Kind(
        (b"', 1", b"'\t1"),
        rb"[{ \t]-?[0-9]{1,3} '(?P<item>"
        + _CHARACTER
        + rb")'(?:,|\}|(?=\t)|\r?\n(?:0x[^\t\n]{4,90}:(?=\t))?|\Z)",
    ),
    # Pairs of a place and a character in Python and Rust, arrays of bash, and what PHP serializes.
    _Kind(
        (b"[(0, ", b"=([0]=", b"{i:0;s:1:"),
        rb"(?:[\[ ]\([0-9]{1,7}, |[( ]\[[0-9]{1,7}\]=|i:[0-9]{1,7};s:[1-4]:)"
        + _QUOTED
        + rb"(?:\)(?:,|(?=\]))|;|(?=[ )]|\Z))",
    ),
    # Bytes of numpy, and lists of bytes in Python.
    _Kind((b"' b'", b"', b'"), rb"b" + _QUOTED + rb"(?:,?\s{1,3}|(?=\]))"),
)
ITEMS = frozenset(sign for kind in _KINDS for sign in kind.signs)
"""Signs that there may be such a list."""
ITEM_BEGINS = rb"=>|\{0: |;, &|'(?: b'|, b'|, 1|\t1)|\[\(0, |=\(\[0|\{i:0;s"
"""A pattern of all of them but one that another reading has."""


def itemized(data: bytes, signs: AbstractSet[bytes]) -> Iterator[View]:
    """Yield what the lists of single characters or numbers in `data`, which has `signs`, stand for."""
    for kind in _KINDS:
        if signs.isdisjoint(kind.signs) or (kind.begins and not any(one in data for one in kind.begins)):
            continue
        for region in kind.region.finditer(data):
            items = list(kind.item.finditer(data, *region.span()))
            named = [one.lastgroup if one.lastgroup != "quote" else "item" for one in items]
            spans = [one.span(name or 0) for one, name in zip(items, named, strict=True)]
            yield _view(data, spans, bare=all(name == "bare" for name in named))


def _view(data: bytes, spans: list[tuple[int, int]], *, bare: bool) -> View:
    pieces = [data[start:stop] for start, stop in spans]
    if bare and all(map(bytes.isdigit, pieces)) and max(map(len, pieces)) > 1:
        return View(
            bytes(min(int(piece), 255) for piece in pieces), Joined([b"."] * len(spans), spans), "numbers"
        )
    return View(b"".join(pieces), Joined(pieces, spans), "apart")
