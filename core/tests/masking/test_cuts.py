"""A value that is coloured, broken over lines or spread is masked whole wherever the stream is cut."""

from __future__ import annotations

import base64
import random
import re

import pytest
from sampling import crossed
from strongroom.masking import MARK, Masker

PEM = (
    "-----BEGIN PRIVATE KEY-----\n"
    + "".join(
        base64.b64encode(random.Random(line).randbytes(48 if line < 3 else 30)).decode() + "\n"
        for line in range(4)
    )
    + "-----END PRIVATE KEY-----\n"
)
VALUES = {
    "a PEM key": PEM,
    "lines": "first line 9\nsecond: x+y\n\n  third line",
    "letters outside of ASCII": "\u043f\u0430\u0440\u043e\u043b\u044c-Zürich-straße-9\u043a\u043b\u044e\u0447",
    "signs of three and four bytes": "naïve\U0001f511key-42-\u65e5\u672c\u8a9e\u30d1\u30b9",
    "a token": "k3Jx9qLw2Zb7mNc4Rv8T",
    "signs": "#kT9!vQ~2^mL@7$wX%4&rB*8(nJ)5-gH",
}


def coloured(value):
    return "".join(f"\x1b[3{at % 8}m{sign}" for at, sign in enumerate(value)) + "\x1b[0m"


def bordered(value):
    return "\n".join(f"| {value[at : at + 9].replace(chr(10), ' '):9} |" for at in range(0, len(value), 9))


WRITTEN = {
    "as it is": lambda value: value,
    "with a terminal's line ends": lambda value: value.replace("\n", "\r\n"),
    "each sign coloured": lambda value: re.sub(r"([^A-Za-z0-9])", "\x1b[1;31m\\1\x1b[0m", value),
    "each character coloured": coloured,
    "a colour in its middle": lambda value: f"\x1b[32m{value[:8]}\x1b[0m\x1b[1m{value[8:]}\x1b[0m",
    "indented": lambda value: value.replace("\n", "\n    "),
    "folded": lambda value: "\n".join(value[at : at + 13] for at in range(0, len(value), 13)),
    "in a box": bordered,
    "in UTF-16": "\0".join,
    "struck over": lambda value: "".join(f"{sign}\b{sign}" for sign in value),
    "quoted in a mail": lambda value: value.replace("\n", "\n> "),
    "in base64 with lines": lambda value: base64.encodebytes(value.encode()).decode(),
}
AROUND = b"before it: ", b" and behind\nmore\n"
NOT_SHOWN = re.compile(rb"\x1b(\[[0-9;]*m?)?|.\x08|[\s\0|>=-]")
"""What a cut may leave of the encoder's own, and of the lines that every key has."""


def streamed(masker, pieces):
    stream = masker.stream()
    return b"".join(map(stream.feed, pieces)) + stream.finish()


def left(shown):
    """Return how many characters stand in `shown` that may be the value's."""
    return len(NOT_SHOWN.sub(b"", shown.replace(MARK, b"")))


def judged(name, way, places, sizes=(1, 3, 16, 64)):
    masker = Masker([VALUES[name]])
    data = AROUND[0] + WRITTEN[way](VALUES[name]).encode() + AROUND[1]
    whole = left(masker.mask(data))
    # Two characters may have gone out before it could be known whose they are.
    most = whole + 2 + len("ENDPRIVATEKEY") * (name == "a PEM key")
    cuts = [[data[:place], data[place:]] for place in range(1, len(data), max(1, len(data) // places))]
    cuts += [[data[at : at + size] for at in range(0, len(data), size)] for size in sizes]
    for pieces in cuts:
        assert left(streamed(masker, pieces)) <= most, len(pieces[0])


@pytest.mark.parametrize(("name", "way"), crossed(list(VALUES), list(WRITTEN)))
def test_a_value_is_masked_wherever_the_stream_is_cut(name, way):
    judged(name, way, 30)


@pytest.mark.parametrize("way", WRITTEN)
@pytest.mark.parametrize("name", VALUES)
def test_each_value_in_each_way_is_masked_where_the_stream_is_cut_a_few_times(name, way):
    """Small pieces take most of the time: only some of these come in such."""
    judged(name, way, 6, (16,))


@pytest.mark.torture
@pytest.mark.parametrize("way", WRITTEN)
@pytest.mark.parametrize("name", VALUES)
def test_a_value_is_masked_whatever_place_the_stream_is_cut_at(name, way):
    judged(name, way, 1_000_000)


def test_a_coloured_prompt_is_shown_though_nothing_follows():
    for prompt in (b"\x1b[32m>>> \x1b[0m", b"\x1b[1mPassword\x1b[0m: ", b"line\n| a box |\n| k3"):
        stream = Masker(list(VALUES.values())).stream()
        assert stream.feed(prompt) + stream.release() == prompt


LETTERS_BEYOND_ASCII = (
    "\u0441\u0435\u043a\u0440\u0435\u0442\u043d\u044b\u0439\u043f\u0430\u0440\u043e\u043b\u044c\u043c\u043e\u0439",
    "Zürich-straße-9\u043f\u0430\u0440\u043e\u043b\u044c",
    "\u043f\u0430\u0440\u043e\u043b\u044c-Qw7Rt9Zx",
)


@pytest.mark.parametrize("value", LETTERS_BEYOND_ASCII)
@pytest.mark.parametrize("width", range(11, 21))
def test_letters_beyond_ascii_are_masked_where_a_line_ends_between_or_within_them(value, width):
    data = value.encode()
    text = b"text " + b"\n".join(data[at : at + width] for at in range(0, len(data), width)) + b" more"
    masker = Masker([value])
    assert masker.mask(text) == b"text ******** more"
    stream = masker.stream()
    assert b"".join(stream.feed(bytes([byte])) for byte in text) + stream.finish() == b"text ******** more"
