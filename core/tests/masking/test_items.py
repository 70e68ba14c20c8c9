"""Lists of characters and numbers, and dumps in boxes, of debuggers or behind other text, are masked whole."""

from __future__ import annotations

import base64
import html
import json

import pytest
from strongroom.masking import Masker

PATH = "C:\\new\\table\\x41\\066end"
SIGNS = "#kT9!vQ~2^mL@7$wX%4&rB*8(nJ)5-gH=1+cD[6]"


def dump(text, address, beside="  {}"):
    data = text.encode()
    for at in range(0, len(data), 16):
        row = data[at : at + 16]
        yield address.format(at) + row.hex(" ") + beside.format(row.decode())


def in_boxes(text, side, middle):
    data = text.encode()
    for at in range(0, len(data), 16):
        digits, shown = data[at : at + 16].hex(" ").ljust(47), data[at : at + 16].decode().ljust(16)
        cells = digits[:23], digits[24:], shown[:8], shown[8:]
        yield f"{side}{at:08x}{side} {cells[0]} {middle} {cells[1]} {side}{cells[2]}{middle}{cells[3]}{side}"


def memory(text, size, address):
    """Return the memory that holds `text` as a debugger shows it, in words of `size` bytes."""
    data = text.encode() + bytes(-len(text.encode()) % 16)
    lines = []
    for at in range(0, len(data), 16):
        row = [data[place : place + size][::-1].hex() for place in range(at, at + 16, size)]
        lines.append("\n" + address.format(at, at) + "".join(f"\t0x{word}" for word in row))
    return "".join(lines)


def yaml_flow(text):
    cells = [f"'{one}'" if one.isdigit() else one for one in text]
    return f"[{', '.join(cells[:20])},\n  {', '.join(cells[20:])}]"


def on_lines(text, quote, indent, end=","):
    return "\n".join(f"{indent}{quote}{char}{quote}{end}" for char in text)


LETTERS = "k3Jx9qLw2Z7mNc4Rv8pTb6YdF1sGh5Aj"

WAYS = {
    "characters on lines of a set of node": (SIGNS, f"Set(40) {{\n{on_lines(SIGNS, chr(39), '  ')}\n}}"),
    "characters on lines of Rust": (SIGNS, f"[\n{on_lines(SIGNS, chr(39), '    ')}\n]"),
    "characters deep in JSON": (SIGNS, json.dumps({"p": list(SIGNS)}, indent=4)),
    "characters on lines with a blank": (SIGNS, json.dumps(list(SIGNS), indent=1)),
    "characters with their places in pairs": (SIGNS, str(list(enumerate(SIGNS)))),
    "an array of bash": (
        SIGNS,
        f"declare -a a=({' '.join(f'[{at}]={json.dumps(one)}' for at, one in enumerate(SIGNS))})",
    ),
    "characters as PHP serializes them": (
        SIGNS,
        f"a:40:{{{''.join(f'i:{at};s:1:{json.dumps(one)};' for at, one in enumerate(SIGNS))}}}",
    ),
    "characters in rows of five": (SIGNS, "\n".join(" ".join(SIGNS[at : at + 5]) for at in range(0, 40, 5))),
    "a list of YAML that goes on": (LETTERS, yaml_flow(LETTERS)),
    "code points with their characters": (SIGNS, " ".join(f"U+{ord(one):04X} '{one}'" for one in SIGNS)),
    "octal numbers with a zero": (SIGNS, " ".join(f"0{byte:o}" for byte in SIGNS.encode())),
    "octal numbers of two or three digits": (SIGNS, "".join(f"\\{byte:o}" for byte in SIGNS.encode())),
    "binary numbers": (SIGNS, " ".join(f"{byte:08b}" for byte in SIGNS.encode())),
    "short binary numbers": (SIGNS, f"[{' '.join(f'{byte:b}' for byte in SIGNS.encode())}]"),
    "pairs of bytes with dashes": (SIGNS, SIGNS.encode().hex("-", 2)),
    "bytes with underscores": (SIGNS, SIGNS.encode().hex("_")),
    "characters on lines of JSON": (SIGNS, json.dumps(list(SIGNS), indent=2)),
    "characters by their places": (SIGNS, str(dict(enumerate(SIGNS)))),
    "characters by their places in JSON": (SIGNS, json.dumps(dict(enumerate(SIGNS)))),
    "numbers by their places": (SIGNS, str(dict(enumerate(SIGNS.encode())))),
    "characters by their places, of PHP": (
        SIGNS,
        "".join(f"\n    [{at}] => {char}" for at, char in enumerate(SIGNS)),
    ),
    "numbers by their places, of PHP": (
        SIGNS,
        "".join(f"\n  {at} => {byte}," for at, byte in enumerate(SIGNS.encode())),
    ),
    "characters with their lengths": (
        SIGNS,
        "".join(f'\n  [{at}]=>\n  string(1) "{char}"' for at, char in enumerate(SIGNS)),
    ),
    "a list of characters in HTML": (SIGNS, html.escape(str(list(SIGNS)))),
    "bytes of numpy": (SIGNS, " ".join(repr(bytes([byte])) for byte in SIGNS.encode())),
    "a dump in a box": (SIGNS, "\n" + "\n".join(in_boxes(SIGNS, "\u2502", "\u250a"))),
    "a dump in a box of ASCII": (SIGNS, "\n" + "\n".join(in_boxes(SIGNS, "|", "|"))),
    "a dump behind times and names": (
        SIGNS,
        "".join(f"\n2026-11-30 10:00:00 DEBUG net {line}" for line in dump(SIGNS, "{:04x}: ")),
    ),
    "a dump behind numbers": (
        SIGNS,
        "".join(f"\n6b0df180.1e4498ce 0x7fc063fff6c0   {line}" for line in dump(SIGNS, "{:04x}:  ")),
    ),
    "rows of bytes behind a name": (
        SIGNS,
        "".join(f"\nOUT: {line}" for line in dump(SIGNS, "", beside="   {}")),
    ),
    "a debugger's words": (PATH, memory(PATH, 4, "0x7fffffffe{:03x}:")),
    "a debugger's long words with names": (PATH, memory(PATH, 8, "0x4040{:02x} <secret+{:d}>:")),
    "a debugger's bytes with names": (SIGNS, memory(SIGNS, 1, "0x4040{:02x} <secret+{:d}>:")),
    "a debugger's bytes, then its words": (
        SIGNS,
        memory(SIGNS, 1, "0x7fffffffe{:03x}:") + memory(SIGNS, 4, "0x7fffffffe{:03x}:"),
    ),
    "a debugger's characters": (
        SIGNS,
        "$1 = {" + ", ".join(f"{byte} {chr(byte)!r}" for byte in SIGNS.encode()) + "}",
    ),
}


@pytest.mark.parametrize("name", WAYS)
def test_a_list_or_a_dump_is_masked_whole(name):
    value, shown = WAYS[name]
    masked = Masker([value]).mask(f"said {shown} end\n".encode())
    assert b"*****" in masked
    assert len(masked.replace(b"*", b"")) - len("said  end\n") <= len(shown) / 4 + 4, masked


@pytest.mark.parametrize(
    ("name", "size"),
    # A line with other text before it is known as one of a dump only where it has come.
    [(name, size) for name in WAYS for size in (0, 7, 50) if not size or "behind" not in name],
)
def test_it_is_masked_where_it_comes_in_pieces(name, size):
    value, shown = WAYS[name]
    text = f"said {shown} end\n".encode() * 2
    pieces = [text[at : at + size] for at in range(0, len(text), size)] if size else text.splitlines(True)
    stream = Masker([value]).stream()
    masked = b"".join(map(stream.feed, pieces)) + stream.finish()
    assert len(masked.replace(b"*", b"")) <= len(text) / 3, masked


ORDINARY = [
    "[\n" + on_lines("abcdefghijklmnop", "'", "    ") + "\n]\n",
    "a b c d e\nf g h i j\nk l m n o\n",
    "10 12 20 31 17 22 33 40 11 10\n01101011 00110011 01001010 01111000\n1010101010101010\n",
    "3f2a-9c1e-7b64-4d0f-9a5c 00_11_22_33_44_55_66_77_88\n",
    "{0: 'a', 1: 'b', 2: 'c', 3: 'd', 4: 'e', 5: 'f', 6: 'g', 7: 'h', 8: 'i'}\n",
    "\n".join(f"    [{at}] => {at}" for at in range(30)),
    "&#39;a&#39;, &#39;b&#39;, &#39;c&#39;, &#39;d&#39;, &#39;e&#39;, &#39;f&#39;, &#39;g&#39;, &#39;h&#39;\n",
    "".join(f"0x7fffffffe0{at}0:\t0x00000001\t0x00000000\t0x00400b6d\t0x00000000\n" for at in range(9)),
    "".join(f"OUT: 00 01 02 03 04 05 06 07 08 09 0{at}    ..........\n" for at in range(9)),
]


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_lists_and_dumps_are_left_alone(text):
    assert Masker([PATH, SIGNS]).mask(text.encode()) == text.encode()


@pytest.mark.parametrize("between", ["\n      ", "\n", "\r\n\t", "\n0040: "])
def test_a_second_line_is_masked_in_the_base64_of_a_find_of_the_first(between):
    """The first line is found by itself, for it is short; the second one is behind a break."""
    value = "pa'ss \"w$rd\\\u00fc/+=&<x>\nsecond line of it"
    coded = base64.b64encode(f"user:{value}".encode()).decode()
    text = f"<a>{between}{coded[:48]}{between}{coded[48:]}\n</a>"
    masked = Masker([value]).mask(text.encode()).decode()
    assert masked == f"<a>{between}dXNlcjp********=\n</a>"
