"""Finds secrets in streams of bytes, also encoded and split between writes, and masks them.

Looked for are a value's own UTF-8 bytes, its base64 (RFC 4648, both alphabets, at all three
alignments), its URL- and JSON-escaped forms, and each line of a multi-line value, which counts as a
value of its own. Everything that overlaps a find is covered, so that two values that overlap leave
nothing behind.
"""

from __future__ import annotations

import base64
import json
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus

__all__ = ["HELD_SECONDS", "MARK", "MIN_CHARACTERS", "Masker", "MaskingStream", "forms"]

MIN_CHARACTERS = 4
"""Shorter values would mask ordinary text, and are not looked for."""
HELD_SECONDS = 0.05
"""How long a stream's user may hold an undecided tail before calling `MaskingStream.release`."""
MARK = b"********"
_KEYED_BYTES = 8
# What common encoders leave as it is: Python's quote, RFC 3986 proper, JavaScript's two, Go's, Java's.
_URL_SAFE = ("", "/", "~", "!'()*", "!'()*~", ";,/?:@&=+$!'()*#", "!$&'()*+,;=:@", "*")
_SCRIPT_ESCAPES = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})
_HEX_ESCAPE = re.compile("%[0-9A-F]{2}")


def forms(value: str) -> set[bytes]:
    """Return the bytes under which `value` is looked for; none for what is too short."""
    found: set[bytes] = set()
    # A line without its indentation is found in the indented one too; one of blanks is no secret.
    for text in {value, *(line.strip() for line in value.splitlines())}:
        if len(text) >= MIN_CHARACTERS:
            found.update(_encodings(text))
    return {form for form in found if len(form) >= MIN_CHARACTERS}


def _encodings(text: str) -> Iterator[bytes]:
    raw = text.encode(errors="surrogatepass")
    yield raw
    # A terminal turns each line feed into CR LF; editors and tools trim a last line's end.
    yield raw.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    yield from _base64_forms(raw)
    for escaped in {*_url_forms(text), *_json_forms(text)}:
        yield escaped.encode(errors="surrogatepass")


def _base64_forms(raw: bytes) -> Iterator[bytes]:
    for offset, undecided in ((0, 0), (1, 2), (2, 3)):
        # Characters that also depend on the bytes before or behind cannot be known.
        whole = base64.b64encode(bytes(offset) + raw).rstrip(b"=")
        sure = whole[undecided:] if (offset + len(raw)) % 3 == 0 else whole[undecided:-1]
        for form in (sure, whole[undecided:]):
            yield form
            yield form.translate(_TO_URL_ALPHABET)


_TO_URL_ALPHABET = bytes.maketrans(b"+/", b"-_")


def _url_forms(text: str) -> Iterator[str]:
    data = text.encode(errors="surrogatepass")
    for form in (*(quote(data, safe=safe) for safe in _URL_SAFE), quote_plus(data)):
        yield form
        yield _HEX_ESCAPE.sub(lambda escape: escape[0].lower(), form)


def _json_forms(text: str) -> Iterator[str]:
    for ascii_only in (True, False):
        plain = json.dumps(text, ensure_ascii=ascii_only)[1:-1]
        for form in (plain, plain.replace("/", "\\/"), plain.translate(_SCRIPT_ESCAPES)):
            yield form
            # JSON inside JSON, as structured logs have it.
            yield json.dumps(form, ensure_ascii=ascii_only)[1:-1]


class Masker:
    """Knows the values; makes a `MaskingStream` for each stream. Safe to share between threads.

    Args:
        values: The secrets. Those under 4 characters are left out.
        mark: What takes the place of a find.
    """

    def __init__(self, values: Iterable[str], *, mark: bytes = MARK) -> None:
        patterns = sorted({form for value in values for form in forms(value)})
        self.mark = mark
        self._patterns = patterns
        self._longest = max(map(len, patterns), default=0)
        self._by_start: dict[bytes, list[bytes]] = {}
        for pattern in sorted(patterns, key=len, reverse=True):
            self._by_start.setdefault(pattern[:_KEYED_BYTES], []).append(pattern)
        self._starts: re.Pattern[bytes] | None = None
        self._start_lengths = sorted({len(start) for start in self._by_start}, reverse=True)

    def __bool__(self) -> bool:
        return bool(self._patterns)

    def __repr__(self) -> str:
        return f"<Masker of {len(self._patterns)} patterns>"

    def mask(self, data: bytes) -> bytes:
        """Return `data`, complete as it is, with every find masked."""
        stream = self.stream()
        return stream.feed(data) + stream.finish()

    def stream(self) -> MaskingStream:
        """Return a new stream."""
        return MaskingStream(self)

    def finds(self, data: bytes, start: int = 0) -> Iterator[tuple[int, int]]:
        """Yield the longest find at each place where there is one, as start and end, in order."""
        if not self._patterns:
            return
        starts = self._expression()
        match = starts.search(data, start)
        while match is not None:
            at = match.start()
            length = self._length_at(data, at)
            if length:
                yield at, at + length
            match = starts.search(data, at + 1)

    def _length_at(self, data: bytes, at: int) -> int:
        lengths = [
            len(pattern)
            for size in self._start_lengths
            for pattern in self._by_start.get(data[at : at + size], ())
            if data.startswith(pattern, at)
        ]
        return max(lengths, default=0)

    def undecided(self, data: bytes) -> int:
        """Return where the tail begins that more data could turn into a find."""
        if not self._patterns:
            return len(data)
        first = max(0, len(data) - self._longest + 1)
        earliest = len(data)
        match = self._expression().search(data, first)
        while match is not None:
            if self._begins_one(data[match.start() :]):
                earliest = match.start()
                break
            match = self._expression().search(data, match.start() + 1)
        # Tails shorter than what the expression looks for.
        for at in range(max(first, len(data) - _KEYED_BYTES + 1), earliest):
            if self._begins_one(data[at:]):
                return at
        return earliest

    def _expression(self) -> re.Pattern[bytes]:
        # Compiled at the first output: a program that prints nothing costs nothing.
        if self._starts is None:
            self._starts = re.compile(_trie(self._by_start))
        return self._starts

    def _begins_one(self, tail: bytes) -> bool:
        # In sorted order, patterns that begin with the tail stand right behind it.
        place = bisect_right(self._patterns, tail)
        return place < len(self._patterns) and self._patterns[place].startswith(tail)


class MaskingStream:
    """Masks one stream, whatever the pieces it comes in."""

    def __init__(self, masker: Masker) -> None:
        self._masker = masker
        self._held = b""
        # How much of `_held` was given out already, and how much of that stands under a mark.
        self._given = 0
        self._marked = 0

    def feed(self, data: bytes) -> bytes:
        """Take `data` and return what can be shown by now."""
        self._held += data
        return self._advance(self._masker.undecided(self._held))

    @property
    def pending(self) -> int:
        """How many bytes are held that were not given out."""
        return len(self._held) - self._given

    @property
    def holds(self) -> bool:
        """Whether a tail is held that `release` would give out."""
        return self.pending > 0 and _characters(self._held) < MIN_CHARACTERS

    def release(self) -> bytes:
        """Give out the undecided tail unless 4 characters of a value are in it.

        If a value turns out to begin in what was given out, the rest of it is still masked.
        """
        if not self.holds:
            return b""
        tail, self._given = self._held[self._given :], len(self._held)
        return tail

    def finish(self) -> bytes:
        """Return the rest, at the end of the stream."""
        return self._advance(len(self._held))

    def _advance(self, end: int) -> bytes:
        """Give out what stands before `end`, with finds that begin there whole."""
        data, given, marked = self._held, self._given, self._marked
        pieces: list[bytes] = []
        for start, stop in self._masker.finds(data):
            if start >= end:
                break
            if stop <= marked:
                continue
            if start > given:
                pieces.append(data[given:start])
            # One mark for all finds that overlap: the number of marks tells nothing.
            if start >= marked or not marked:
                pieces.append(self._masker.mark)
            given = marked = max(stop, given)
        if given < end:
            pieces.append(data[given:end])
            given = end
        self._held = data[end:]
        self._given = max(0, given - end)
        self._marked = max(0, marked - end)
        return b"".join(pieces)


# Every byte of UTF-8 but those that continue a character.
_NOT_CONTINUING = bytes((*range(0x80), *range(0xC0, 0x100)))


def _characters(data: bytes) -> int:
    return len(data) - len(data.translate(None, _NOT_CONTINUING)) if not data.isascii() else len(data)


def _trie(words: Iterable[bytes]) -> bytes:
    """Return a regular expression for any of `words`, their common beginnings written once."""
    ordered = sorted(set(words))
    # A word that begins with another one is found with it.
    kept: list[bytes] = []
    for word in ordered:
        if not (kept and word.startswith(kept[-1])):
            kept.append(word)
    return _branches(kept, 0)


def _branches(words: list[bytes], depth: int) -> bytes:
    if len(words) == 1:
        return re.escape(words[0][depth:])
    groups: dict[int, list[bytes]] = {}
    for word in words:
        groups.setdefault(word[depth], []).append(word)
    parts = [re.escape(bytes([byte])) + _branches(group, depth + 1) for byte, group in groups.items()]
    return parts[0] if len(parts) == 1 else b"(?:" + b"|".join(parts) + b")"
