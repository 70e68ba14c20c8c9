"""Lists of numbers, read as the bytes that they stand for: hexadecimal, decimal, octal, dumps."""

from __future__ import annotations

import binascii
from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate

from strongroom.masking.compiled_later import compiled_later
from strongroom.masking.dumps import LONGEST_ROW, begin_of_line, block_at, in_several_forms
from strongroom.masking.origins import (
    Hits,
    Joined,
    Known,
    Moved,
    Runs,
    Twice,
    View,
    is_text,
    is_utf16,
    substituted,
)
from strongroom.masking.readings import dumped, of_points, signed, turned

__all__ = ["IS_LISTED", "lists"]

Span = tuple[int, int]

IS_LISTED = bytes(byte in b"0123456789abcdefABCDEFxX ,:\\%\r\n\t[" for byte in range(256))
"""A table for `bytes.translate`: 1 for each character that a list of numbers may have, 0 for others."""
_SEPARATORS = b" \r\n\t,:\\%["
_LISTED = compiled_later(rb"[0-9a-fA-FxX ,:\\%\r\n\t\[]+")
_KINDS_OF_DIGITS = bytes.maketrans(b"123456789abcdefABCDEF", b".tttttt" + 14 * b".")
_OF_TEXT = (b"tttttt", b"t0t0t0t0", b"0t0t0t0t")
"""The first digits of bytes of text, with `t` for 2 to 7: of ASCII, and of UTF-16 in either order."""
_BLANKS = b" \r\n"
_GAP = b".."  # in every second digit, too
_BETWEEN = b"ffffff"  # decoded, bytes that are in no text
_NUMBER = compiled_later(rb"(?:0[xX]|[xX])?([0-9a-fA-F]+)")
_LEAST_NUMBERS = 8
_DECIMAL = compiled_later(rb"[0-9]+")
_DECIMALS = compiled_later(rb"\b[0-9]{1,6}(?:[ ,\r\n\t\\]+[0-9]{1,6}\b){7,}")
_OCTALS = compiled_later(
    rb"\b(?:[0-7]{2}|0?[0-3]?[0-7]{2})\b(?:[ ,\r\n\t\\]+(?:[0-7]{2}|0?[0-3]?[0-7]{2})\b){7,}"
)
_ADDRESS = 6
_LONGEST_ADDRESS = 16
_BESIDE_ADDRESS = compiled_later(rb"[ :]\s*[0-9a-fA-FxX]{2}")
_BITS = 8
_LONG_WORDS = {8, 16}
_LONG_WORDS_ALONE = ({8}, {16})
_BYTES_OF_WORDS = {5: 2, 10: 4, 19: 8, 20: 8}
"""How many bytes are in a word of at most so many decimal digits."""
_WORD = b"\t0x"
"""Between a debugger's words."""
_ONE_NUMBER = compiled_later(
    rb"[ \r\n]*+(?=(?>(?:[0-9a-fA-F]{1,16}+[ \r\n]++){0,6})[0-9a-fA-F]{17})(?:[0-9a-fA-F]++[ \r\n]*+){1,7}"
)
"""Digits without a sign between, on one line or more, of which one is longer than the words of a dump."""
_HASH = compiled_later(
    rb"[ \r\n]*+(?=(?>(?:[0-9a-fA-F]{1,16}+[\r\n]++){0,6})[0-9a-fA-F]{17})"
    rb"[0-9a-fA-F]++(?>(?:[\r\n]++[0-9a-fA-F]++){0,6})[ \r\n]*+(?![0-9a-fA-FxX,:\\%\t\[])"
)
"""The same, without a blank between the digits and without another sign of a list behind them."""
_ADDRESSES = compiled_later(rb"(?:\A|(?<=\n))[0-9a-fA-F]{6,16}(?= )")
_NEXT_DUMP = compiled_later(
    rb"(?<=[^\n])\n(?=0{6,16}[ :])"
    rb"|(?:\A|(?<=\n))0{6,16} [^\n]*+\n(?>(?:(?!0{6,16} )[0-9a-fA-F]{6,16} [^\n]*+\n)*)[0-9a-fA-F]{6,16}\r?\n"
)
"""What another dump may follow: the line before its first address, or the address that ends a dump."""
_LEAST_DUMP = 48
_ROW_BENEATH = b"\n  "
"""Where the row begins that has the same bytes as the one before, in another form."""
_MOST_TRIED = 4
_BROKEN_NUMBER = compiled_later(rb"[0-9]\r?\n[0-9]")
_LINE_END = compiled_later(rb"\r?\n")
_HIGH = 0x80
_MOST_GONE = 16
"""A list that begins so near to the beginning of the data may be the rest of one; its next line is whole."""


def lists(data: bytes, runs: Runs, known: Known, hits: Hits | None = None) -> Iterator[View]:
    """Yield what the lists of numbers in `data` stand for; `runs` are those of `data` by `IS_LISTED`.

    If `hits` is given, of numbers without a sign between only those that hold text or have a hit.
    """
    hashes: list[tuple[bytes, int]] = []
    match_hash, goes_on, end = _HASH.match, runs.goes_on, 0
    for begin in runs.begins:
        at = max(begin, end)
        while at == begin or goes_on(at):  # a dump ends within a run, perhaps
            if at > _MOST_GONE and (number := match_hash(data, at)):
                hashes.append((number[0], at))
                end = number.end()
                break  # no sign of a list is behind it
            run = _LISTED.match(data, at)
            assert run is not None  # noqa: S101  # its first character is one of a list
            end = run.end()
            if not known.covers(at, end):
                end = at
                for first, stop in _dumps(run[0], at):
                    if end <= first:
                        found, end = _read_list(data, first, data[first:stop])
                        yield from found
            at = end
    chosen = [one for one in _maybe_text(hashes) if not known.covers(one[1], one[1] + len(one[0]))]
    if chosen and hits is not None:
        chosen = list(_worth_decoding(chosen, hits))
    for text, at in chosen:
        lines = [one for one in _NUMBER.finditer(text) if len(one[0]) > 1]
        yield from _digits([one[0] for one in lines], [(at + one.start(), at + one.end()) for one in lines])


def _dumps(text: bytes, at: int) -> Iterator[tuple[int, int]]:
    """Yield from where to where each dump in `text`, which begins at `at`, may be; or all of it.

    Behind the first one, very short ones are left together: each costs some calls.
    """
    begin = 0
    for another in _NEXT_DUMP.finditer(text):
        if not begin or another.end() - begin >= _LEAST_DUMP:
            yield at + begin, at + another.end()
            begin = another.end()
    yield at + begin, at + len(text)


def _read_list(data: bytes, at: int, text: bytes) -> tuple[list[View], int]:
    """Return what the list or the dump stands for that begins with `text`, which is at `at`, and its end."""
    end = stop = at + len(text)
    views: list[View] = []
    # Of indented text that is nearly all there is: a few letters between many blanks.
    listed = not text.isspace() and len(text.translate(None, _SEPARATORS)) >= _LEAST_NUMBERS
    second = text.find(b"\n") + 1
    if listed and _ROW_BENEATH in text and (several := _several_forms(data, at, text))[0]:
        return several
    if listed:
        views, stop = dumped(data, at) if text.count(b" ") > 1 or _WORD in text else ([], at)
        if second and not views and (text.count(b" ", second) or text.find(_WORD, second) >= 0):
            # The line before is the text beside a dump, or the rest of one whose beginning is gone.
            views, stop = dumped(data, at + second)
    while views and stop < end:  # words of another length follow
        more, stop = dumped(data, stop)
        views += more
        if not more:
            break
    if data[end : end + 1] == b"-":
        negative, stop = signed(data, at)
        views += negative
    if stop > end:
        return views, stop
    if listed:
        views += _numbers(text, at)
        if second and at <= _MOST_GONE:
            views += _numbers(text[second:], at + second)
    return views, end


def _several_forms(data: bytes, at: int, text: bytes) -> tuple[list[View], int]:
    """Return what the dumps in several forms hold of which rows of numbers are in `text`, which is at `at`.

    With them comes what the lists between them stand for. The second item is where the last dump ends.
    """
    end = at + len(text)
    views: list[View] = []
    stop, tried, beneath = at, 1, data.find(_ROW_BENEATH, at, end)
    while beneath >= 0:
        line = begin_of_line(data, beneath, LONGEST_ROW)
        begin = block_at(data, line) if line >= 0 else -1
        if begin >= 0 and (begin >= stop or stop == at):
            views += _numbers(text[stop - at : max(stop, begin) - at], stop)
            several, stop = in_several_forms(data, begin)
            views += several
            tried, beneath = 0, stop - 1
        elif tried > _MOST_TRIED:
            break
        tried += 1
        # The last one is where the row of numbers has characters beneath.
        find = data.find if tried <= _MOST_TRIED else data.rfind
        beneath = find(_ROW_BENEATH, beneath + 1, end)
    if views and stop < end:
        views += _numbers(text[stop - at :], stop)
    return views, max(stop, end)


def _maybe_text(hashes: list[tuple[bytes, int]]) -> Iterator[tuple[bytes, int]]:
    """Yield those of `hashes`, texts and their places, whose digits may be of text.

    Of letters and digits every second digit is 3 to 7; so are few of a hash's. All are looked through at
    once.
    """
    pieces = [text.translate(None, _BLANKS) for text, _ in hashes]
    kinds = _GAP.join(pieces).translate(_KINDS_OF_DIGITS)
    begins = [0, *accumulate([len(piece) + len(_GAP) for piece in pieces])]
    chosen: set[int] = set()
    for first in (0, 1):
        half = kinds[first::2]
        for sign in _OF_TEXT:
            at = half.find(sign)
            while at >= 0:
                which = bisect_right(begins, 2 * at + first) - 1
                chosen.add(which)
                at = half.find(sign, begins[which + 1] // 2)
    return (hashes[which] for which in sorted(chosen))


def _worth_decoding(hashes: list[tuple[bytes, int]], hits: Hits) -> Iterator[tuple[bytes, int]]:
    """Yield those of `hashes` that hold text, or something of a value, from their first or second digit on.

    All are decoded by one call, and looked through by another.
    """
    digits = [b"".join([word for word in text.split() if len(word) > 1]) for text, _ in hashes]
    pairs = [one[shift : len(one) - (len(one) - shift) % 2] for one in digits for shift in (0, 1)]
    data = binascii.a2b_hex(_BETWEEN.join(pairs))
    begins = [0, *accumulate((len(one) + len(_BETWEEN)) // 2 for one in pairs)]
    worth = {bisect_right(begins, start) - 1 for start in hits(data)}
    for which, number in enumerate(hashes):
        for half in (2 * which, 2 * which + 1):
            piece = data[begins[half] : begins[half] + len(pairs[half]) // 2]
            if half in worth or is_text(piece) or is_utf16(piece):
                yield number
                break


def _numbers(text: bytes, start: int) -> Iterator[View]:
    if len(text.translate(None, _SEPARATORS)) < _LEAST_NUMBERS:
        return
    if _ONE_NUMBER.fullmatch(text):
        if not any(_maybe_text([(text, start)])):
            return
        if text.isalnum():
            yield from _digits([text], [(start, start + len(text))])
            return
    words, spans, addresses = _words(text, start)
    if words:
        yield from _decimal_lists(text, start, addressed=bool(addresses))
        yield from _read_words(words, spans, addressed=bool(addresses))
        yield from _digits(words, spans)
    # What looks like the address of each line may be a word, too.
    if (
        addresses
        and {len(word) for word in words} | {len(word) for _, word in addresses} in _LONG_WORDS_ALONE
    ):
        both = sorted([*zip(spans, words, strict=True), *addresses])
        words, spans = [word for _, word in both], [span for span, _ in both]
        yield from _read_words(words, spans, addressed=False)
        yield from _digits(words, spans)


def _words(text: bytes, start: int) -> tuple[list[bytes], list[Span], list[tuple[Span, bytes]]]:
    """Return the numbers in `text`, where each is, and the addresses of a dump's lines with their places."""
    words: list[bytes] = []
    spans: list[Span] = []
    addresses: list[tuple[Span, bytes]] = []
    for match in _NUMBER.finditer(text):
        word, begin = match[1], match.start(1)
        first = begin == 0 or text[begin - 1 : begin] == b"\n"
        if (
            first
            and _ADDRESS <= len(word) <= _LONGEST_ADDRESS
            and (addresses or (_BESIDE_ADDRESS.match(text, match.end()) and not _is_number(words)))
        ):
            addresses.append(((start + begin, start + match.end()), word))
        elif len(word) > 1:  # else a letter of the word before
            words.append(word)
            spans.append((start + begin, start + match.end()))
    return words, spans, addresses


def _is_number(words: list[bytes]) -> bool:
    """Return whether the last of `words` is longer than an address: the next line goes on with its digits."""
    return bool(words) and len(words[-1]) > _LONGEST_ADDRESS


def _read_words(words: list[bytes], spans: list[tuple[int, int]], *, addressed: bool) -> Iterator[View]:
    """Yield what `words` of one length hold, of which each is more than a byte, or is in octal digits."""
    sizes = {len(word) for word in words}
    if sizes <= {4, 2}:
        yield from _little_endian(words, spans, 16)
    elif sizes in ({5}, {6}):  # `hexdump -d` and `od`
        yield from _little_endian(words, spans, 10 if sizes == {5} else 8)
    elif addressed and max(sizes) in _BYTES_OF_WORDS and all(map(bytes.isdigit, words)):  # `od -tu2`
        yield from _decimal_words(words, spans, _BYTES_OF_WORDS[max(sizes)])
    elif len(words) > 1 and max(sizes) <= _BITS and not b"".join(words).strip(b"01"):
        pieces = [bytes([int(word, 2)]) for word in words]
        yield View(b"".join(pieces), Joined(pieces, spans), "numbers")
    elif len(words) > 1 and sizes <= _LONG_WORDS:
        pieces = [turned(word) for word in words]
        yield View(b"".join(pieces), Joined(pieces, spans), "hex")


def _decimal_lists(text: bytes, start: int, *, addressed: bool) -> Iterator[View]:
    for listed in _DECIMALS.finditer(text):
        yield from _decimals(listed[0], start + listed.start())
    if addressed:  # as `od -tu1` prints them
        joined = substituted(_ADDRESSES, text)
    else:  # a line may end within a number, too
        joined = substituted(_LINE_END, text) if _BROKEN_NUMBER.search(text) else None
    if joined is None:
        return
    origin = Moved(joined.origin, start)
    for listed in _DECIMALS.finditer(joined.data):
        for view in _decimals(listed[0], listed.start()):
            yield View(view.data, Twice(view.origin, origin), view.encoding, view.text)


def _decimals(text: bytes, start: int) -> Iterator[View]:
    numbers, spans = _read_digits(text, start, 10)
    yield from _as_bytes(numbers, spans, "numbers")
    if max(numbers) >= _HIGH:
        yield of_points(numbers, spans)
    for octal in _OCTALS.finditer(text):
        yield from _as_bytes(*_read_digits(octal[0], start + octal.start(), 8), "numbers")


def _read_digits(text: bytes, start: int, base: int) -> tuple[list[int], list[Span]]:
    matches = list(_DECIMAL.finditer(text))
    spans = [(start + match.start(), start + match.end()) for match in matches]
    return [int(match[0], base) for match in matches], spans


def _as_bytes(numbers: list[int], spans: list[tuple[int, int]], name: str) -> Iterator[View]:
    data = bytes(number if number < 256 else 255 for number in numbers)  # noqa: PLR2004  # a byte
    yield View(data, lambda start, stop: (spans[start][0], spans[stop - 1][1]), name)


def _little_endian(words: list[bytes], spans: list[tuple[int, int]], base: int) -> Iterator[View]:
    try:
        numbers = [int(word, base) for word in words]
    except ValueError:
        return
    data = b"".join((number & 0xFFFF).to_bytes(2, "little") for number in numbers)
    name = "hex" if base == 16 else "numbers"  # noqa: PLR2004  # digits of `hex`
    yield View(data, lambda start, stop: (spans[start // 2][0], spans[(stop - 1) // 2][1]), name)


def _decimal_words(words: list[bytes], spans: list[tuple[int, int]], size: int) -> Iterator[View]:
    most = 1 << 8 * size
    data = b"".join(min(int(word), most - 1).to_bytes(size, "little") for word in words)
    yield View(data, lambda start, stop: (spans[start // size][0], spans[(stop - 1) // size][1]), "numbers")


def _digits(words: list[bytes], spans: list[tuple[int, int]]) -> Iterator[View]:
    joined = b"".join(words)
    ends = list(accumulate(map(len, words)))

    def place(digit: int) -> int:
        which = bisect_right(ends, digit)
        return spans[which][1] - (ends[which] - digit)

    lengths = set(map(len, words))
    at_odd = max(lengths) >= _LEAST_NUMBERS or any(length % 2 for length in lengths)
    for shift in (0, 1) if at_odd else (0,):
        digits = joined[shift : shift + (len(joined) - shift) // 2 * 2]

        def origin(start: int, stop: int, shift: int = shift) -> tuple[int, int]:
            return place(shift + 2 * start), place(shift + 2 * stop - 1) + 1

        data = binascii.a2b_hex(digits)
        yield View(data, origin, "hex", text=is_text(data) or is_utf16(data))
