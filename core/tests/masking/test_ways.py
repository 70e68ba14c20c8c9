"""The smallest output of each way in which programs write a value; none of it is left to be read."""

from __future__ import annotations

import base64
import binascii
import hashlib
import html
import io
import json
import logging
import re
from email.header import Header
from html.entities import codepoint2name

import pytest
from strongroom.cli.scanning.matcher import find_matches
from strongroom.masking import Masker, MaskingFilter, mask, views
from strongroom.masking.parts import expanded

TOKEN = "Zk3Jx9qLw2Z7mNc4Rv8p"
UMLAUT = "Kq7Wv9\u00fcZp4tRs8yUo2x"
PATH = "C:\\new\\table\\x41\\066end"
RUSSIAN = "\u043f\u0430\u0440\u043e\u043b\u044c-\u0441\u0442\u0440\u0430\u043d\u0430-\u0434\u043e\u043c9"
SIGNS = "#kT9!vQ~2^mL@7$wX%4&rB*8(nJ)5-gH=1+cD[6]"


def apart(separator, text=TOKEN):
    return separator.join(text)


def in_pieces(text, around, written=str, size=8):
    return "".join(around.format(written(text[at : at + size])) for at in range(0, len(text), size))


def uuencoded(text):
    data = text.encode()
    lines = [binascii.b2a_uu(data[at : at + 45]).decode() for at in range(0, len(data), 45)]
    return "".join(lines)


def dump(text, address="{:08x}: ", between=" ", beside="  {}"):
    data, shown = text.encode(), []
    for at in range(0, len(data), 16):
        row = data[at : at + 16]
        letters = "".join(chr(byte) if 32 < byte < 127 else "." for byte in row)
        shown.append(
            address.format(at) + between.join(f"{byte:02x}" for byte in row) + beside.format(letters)
        )
    return "\n".join(shown)


def words(text, size):
    data = text.encode() + bytes(-len(text.encode()) % size)
    return " ".join(data[at : at + size][::-1].hex() for at in range(0, len(data), size))


WAYS = {
    "base32": (TOKEN, base64.b32encode(TOKEN.encode()).decode()),
    "base32 in small letters": (TOKEN, base64.b32encode(TOKEN.encode()).decode().lower()),
    "base32 behind a name": (TOKEN, base64.b32encode(b"user:" + TOKEN.encode()).decode()),
    "blanks as columns": ("correct horse battery staple 4711", "correct  horse   battery  staple     4711"),
    "blanks for tabs": ("horse\tbattery staple 4711", "horse   battery staple 4711"),
    "base32, wrapped": (3 * TOKEN, re.sub("(.{40})", "\\1\n", base64.b32encode(3 * TOKEN.encode()).decode())),
    "uuencode": (TOKEN, uuencoded(TOKEN)),
    "a blank between": (TOKEN, apart(" ")),
    "two blanks between": (TOKEN, apart("  ")),
    "a character a line": (TOKEN, apart("\n")),
    "a character a line, with CR": (TOKEN, apart("\r\n")),
    "a character a line, each with a backslash": (
        PATH,
        apart("\\\n", [char.replace("\\", "\\\\") for char in PATH]),
    ),
    "characters in brackets": (TOKEN, f"[{apart(', ')}]"),
    "characters in quotes": (UMLAUT, str(list(UMLAUT))),
    "characters in quotes, in rows": (
        UMLAUT,
        re.sub(
            "((?:'.', ){6})", lambda row: row[0][:-1] + "\n  ", f"[\n  {apart(', ', map(repr, UMLAUT))}\n]"
        ),
    ),
    "characters in quotes, one wider than others": (
        f"{UMLAUT}\n9",
        apart(", ", map(repr, f"{UMLAUT}\n9")).replace("'v', ", "'v',  "),
    ),
    "characters in quotes, blanks between": (UMLAUT, f"[{apart(' ', map(repr, UMLAUT))}]"),
    "bytes by their place": (TOKEN, json.dumps(dict(enumerate(TOKEN.encode())), separators=(",", ":"))),
    "bytes with a sign": (UMLAUT, str([byte - 256 * (byte > 127) for byte in UMLAUT.encode()])),
    "code points": (RUSSIAN, str([ord(char) for char in RUSSIAN])),
    "each by its code point": (TOKEN, "".join(f"\\u{{{ord(char):x}}}" for char in TOKEN)),
    "each by four digits": (TOKEN, "".join(f"\\u{ord(char):04x}" for char in TOKEN)),
    "each with its name": (TOKEN, " ".join(f"U+{ord(char):04X}" for char in TOKEN)),
    "each as an entity": (TOKEN, "".join(f"&#{ord(char)};" for char in TOKEN)),
    "each as an entity of digits": (TOKEN, "".join(f"&#x{ord(char):x};" for char in TOKEN)),
    "each in octal": (TOKEN, "".join(f"\\{ord(char):03o}" for char in TOKEN)),
    "UTF-16 in a repr": (PATH, repr(PATH.encode("utf-16-le"))),
    "bytes as characters, escaped": (UMLAUT, UMLAUT.replace("\u00fc", "\\u00c3\\u00bc")),
    "bytes as characters, entities": (UMLAUT, UMLAUT.replace("\u00fc", "&#195;&#188;")),
    "hexadecimal and octal mixed": (UMLAUT, UMLAUT.replace("\u00fc", "\\xc3\\274")),
    "hexadecimal in brackets": (UMLAUT, UMLAUT.replace("\u00fc", "\\xc3\\x[bc]")),
    "decimal, as Haskell writes": (UMLAUT, UMLAUT.replace("\u00fc", "\\252\\&")),
    "meta without a dash": ("Kq7Wv9\u00dfZp4tRs8yUo2x", "Kq7Wv9\\M-C\\M^_Zp4tRs8yUo2x"),
    "in .NET's XML": ("Kq7W v9Zp4tR", "Kq7W_x0020_v9Zp4tR"),
    "a sign behind each caret": ("Kq7W&v9Zp4tR", "Kq7W^&v9Zp4tR"),
    "backticks": ('Kq7W"v9Z$p4tR', 'Kq7W`"v9Z`$p4tR'),
    "a unit's name": ("Kq7W/v9Z/p4tR", "Kq7W-v9Z-p4tR"),
    "words as a list": ("Kq7W v9Zp 4tRs8y", str(["Kq7W", "v9Zp", "4tRs8y"])),
    "JSON four deep": (PATH, PATH.replace("\\", "\\" * 16)),
    "overstruck": (UMLAUT, "".join(f"{char}\b{char}" for char in UMLAUT)),
    "what a diff struck out": (
        PATH,
        "\x1b[32mC:\\new\\table\\\x1b[mx\x1b[31mxx\x1b[m\x1b[32m41\\066end\x1b[m",
    ),
    "what a diff of words struck out": (PATH, "{+C:\\new\\table\\+}x[-xx-]{+41\\066end+}"),
    "base64 wrapped in JSON": (
        3 * TOKEN,
        base64.encodebytes((3 * TOKEN + "ab").encode()).decode().replace("\n", "\\n"),
    ),
    "base64 behind addresses": (
        2 * TOKEN,
        re.sub("(.{30})", "\\1\n0067: ", base64.b64encode(b"u:" + 2 * TOKEN.encode()).decode()),
    ),
    "base64 behind addresses, little of it in a line": (
        SIGNS,
        re.sub("(.{30})", "\\1\n0067: ", base64.b64encode(b"user:" + SIGNS.encode()).decode()),
    ),
    "base64 in a quotation": (
        2 * TOKEN,
        re.sub("(.{30})", "\\1\n> ", base64.b64encode(2 * TOKEN.encode()).decode()),
    ),
    "a dump with text": (SIGNS, dump(SIGNS)),
    "a dump with one blank before the text": (SIGNS, dump(SIGNS, "{:04x}: ", " ", " {}")),
    "a dump with a dash": (SIGNS, dump(SIGNS, "    {:04x} - ")),
    "a dump in bars": (SIGNS, dump(SIGNS, "{:08x}  ", " ", "  |{}|")),
    "a dump of packets": (SIGNS, dump(SIGNS, "\t0x{:04x}:  ")),
    "words of four bytes": (SIGNS, words(SIGNS, 4)),
    "words of eight bytes": (SIGNS, words(SIGNS, 8)),
    "signs, the middle changed": (SIGNS, SIGNS[:5] + "#" + SIGNS[5:]),
    "escapes undone": (PATH, "C:\new\tableA6end"),
    "hexadecimal with dashes": (TOKEN, TOKEN.encode().hex("-")),
    "hexadecimal, each byte in quotes": (TOKEN, str([hex(byte) for byte in TOKEN.encode()])),
    "commas between": (TOKEN, apart(",")),
    "characters in JSON": (TOKEN, json.dumps(list(TOKEN), separators=(",", ":"))),
    "each by four digits, in JSON again": (TOKEN, "".join(f"\\\\u{ord(char):04x}" for char in TOKEN)),
    "an encoded word": (UMLAUT, Header(UMLAUT, "utf-8").encode()),
    "encoded words over lines": (3 * UMLAUT, Header(3 * UMLAUT, "utf-8", maxlinelen=40).encode()),
    "an encoded word of signs": ("a=b_ c\u00fcd?e", "=?utf-8?q?a=3Db=5F_c=C3=BCd=3Fe?="),
    "HTML that keeps blanks": ("Kq7W v9Zp\n4tRs8y", "Kq7W&nbsp;v9Zp<br/>\n4tRs8y"),
    "in a comment": (TOKEN, f"{TOKEN[:9]}\n  # {TOKEN[9:]}"),
    "in a comment of C": (TOKEN, f"{TOKEN[:9]}\n * {TOKEN[9:]}"),
    "a repr of bytes over lines": (TOKEN, f"b'{TOKEN[:9]}'\n b'{TOKEN[9:]}'"),
    "a line of signs in a box": ("--Kq7W v9--\n--Zp4tRs--", "  | --Kq7W v9--\n  | --Zp4tRs--"),
    "JSON in the log of nginx": (PATH, PATH.replace("\\", "\\x5C\\x5C")),
    "quotes of JSON in the log of nginx": ('Kq7W"v9Zp"4tRs', "Kq7W\\x5C\\x22v9Zp\\x5C\\x22" + "4tRs"),
    "a repr in HTML": (PATH, PATH.replace("\\", "&#92;&#92;")),
    "Latin-1 in octal": (UMLAUT, UMLAUT.replace("\u00fc", "\\374")),
    "bytes as characters, some escaped": ("Kq7Wv9\u00dfZp4tRs8yUo2x", "Kq7Wv9\u00c3\\x9fZp4tRs8yUo2x"),
    "colours whose numbers have colons between": (
        TOKEN,
        "".join("\x1b[38:2::9:0:128m" + one for one in TOKEN),
    ),
    "colours of letters and ground": (
        TOKEN,
        "".join("\x1b[38;2;255;192;203;48;2;255;192;203m" + one for one in TOKEN),
    ),
    "tags of HTML between": (SIGNS, in_pieces(SIGNS, '<span class="se">{}</span>', html.escape)),
    "places where a line may be broken": (SIGNS, in_pieces(SIGNS, "{}<wbr>", html.escape)),
    "soft hyphens between": (SIGNS, in_pieces(SIGNS, "{}\u00ad")),
    "blanks without a width between": (SIGNS, in_pieces(SIGNS, "{}\u200b")),
    "pieces in a list": (SIGNS, json.dumps(re.findall(".{1,8}", SIGNS))),
    "pieces in a list of lines": (SIGNS, json.dumps(re.findall(".{1,8}", SIGNS), indent=4)),
    "pieces in a list in JSON": (SIGNS, json.dumps(json.dumps(re.findall(".{1,8}", SIGNS)))),
    "signs in brackets": (SIGNS, "".join(char if char.isalnum() else f"[{char}]" for char in SIGNS)),
    "a cut value without a long word": (SIGNS + TOKEN, SIGNS[:22]),
    "signs of a name": (UMLAUT, re.sub("\u00fc", "_C3_BC_", UMLAUT)),
    "signs of names in a row": (PATH, "C_3A_5C_new_5C_table_5C_x41_5C_066end"),
    "colours in JSON": (
        TOKEN,
        "".join(f"\\u001b[3{at % 8}m{char}" for at, char in enumerate(TOKEN)) + "\\u001b[0m",
    ),
    "base64 in a box": (
        3 * UMLAUT,
        re.sub("(.{40})", "\\1 \u2502\n\u2502 ", base64.b64encode(3 * UMLAUT.encode()).decode()),
    ),
    "words of four bytes in rows": (TOKEN, re.sub("((?:[^ ]+ ){4})", "\\1\n", words(TOKEN, 4))),
    "a word of four bytes on each line": (TOKEN, "\n" + words(TOKEN, 4).replace(" ", " \n") + " \n"),
    "entities of bytes that were taken for letters": (
        "Zürich-" + RUSSIAN,
        "".join(
            f"&{codepoint2name[byte]};"
            if byte in codepoint2name
            else f"&#{byte};"
            if byte > 127
            else chr(byte)
            for byte in ("Zürich-" + RUSSIAN).encode()
        ),
    ),
    "OpenSSL's code points": (
        "Zürich-" + RUSSIAN,
        re.sub(
            "[^ -~]",
            lambda one: f"\\U{ord(one[0]):04X}" if one[0] > "\xff" else f"\\{ord(one[0]):02X}",
            "Zürich-" + RUSSIAN,
        ),
    ),
    "UTF-16 of letters that are not Latin in a repr": (RUSSIAN, repr(RUSSIAN.encode("utf-16-le"))[2:-1]),
    "UTF-16 of letters that are not Latin in a repr, the high byte first": (
        RUSSIAN,
        repr(RUSSIAN.encode("utf-16-be"))[2:-1],
    ),
    "UTF-16 of letters of two alphabets in a repr": (
        "Zürich-" + RUSSIAN,
        repr(("Zürich-" + RUSSIAN).encode("utf-16-le"))[2:-1],
    ),
    "letters outside of ASCII, the first cut off": (RUSSIAN, RUSSIAN[1:]),
    "quotes, commas and blanks between": (TOKEN, json.dumps(list(TOKEN))),
    "each in Perl's braces": (TOKEN, " ".join(f"\\x{{{ord(char):x}}}" for char in TOKEN)),
    "each byte in Perl's braces": (UMLAUT, UMLAUT.replace("\u00fc", "\\x{c3}\\x{bc}")),
    "names of HTML": ("Kq7W\\v9:Zp\u0436tRs8y", "Kq7W&bsol;v9&colon;Zp&zhcy;tRs8y"),
    "macros of LaTeX": ("Kq7W\\v9-Zp~tRs8y", "Kq7W\\textbackslash{}v9\\PYZhy{}Zp\\textasciitilde tRs8y"),
    "escapes of roff": ("Kq7W\\v9'Zp\u00fctRs8y", "Kq7W\\ev9\\(aqZp\\[u00FC]tRs8y"),
    "number signs": ("Kq7W\nv9\u00fcZptRs8y", "Kq7W#012v9#C3#BCZptRs8y"),
    "escapes of CSS": ("Kq7W/v9&Zp(tRs8y", "Kq7W\\2f v9\\26 Zp\\28 tRs8y"),
    "a name of OpenSSL": (UMLAUT, UMLAUT.replace("\u00fc", "\\C3\\83\\C2\\BC")),
    "backslashes taken away": (PATH, PATH.replace("\\", "")),
    "UTF-16 in base64": (PATH, base64.b64encode(f"$p='{PATH}'".encode("utf-16-le")).decode()),
    "UTF-16 in hexadecimal": (TOKEN, TOKEN.encode("utf-16-le").hex()),
    "a dump between bars": (SIGNS, re.sub(r"(?m)^(.{8})", r"|\1|", dump(SIGNS, "{:08x} ", " ", "  |{}|"))),
    "a debugger's bytes": (
        f"{TOKEN}5AjQm9xk3J7d",
        dump(f"{TOKEN}5AjQm9xk3J7d", "0x7fffffffe{:03x}:\t0x", "\t0x", ""),
    ),
    "a number a line": (TOKEN, json.dumps(list(TOKEN.encode()), indent=2)),
    "ten characters of a generated value": (TOKEN, f'"{TOKEN[:10]}"...'),
}


@pytest.mark.parametrize("name", WAYS)
def test_nothing_is_left_of_what_a_program_wrote(name):
    value, shown = WAYS[name]
    before = "begin 644 x\n" if name == "uuencode" else "said "
    masked = Masker([value]).mask(f"{before}{shown} end\n".encode())
    assert b"*****" in masked
    left = len(masked.replace(b"*", b"")) - len(f"{before} end\n")
    assert left <= len(shown) / 4 + 4, masked


@pytest.mark.parametrize(
    "size", [pytest.param(1, marks=pytest.mark.torture), 7, pytest.param(50, marks=pytest.mark.torture)]
)
@pytest.mark.parametrize("name", [name for name in WAYS if name not in {"uuencode", "JSON four deep"}])
def test_nothing_is_left_either_where_it_comes_in_pieces(name, size):
    value, shown = WAYS[name]
    text = f"said {shown} end\n".encode() * 2
    stream = Masker([value]).stream()
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    masked = b"".join(map(stream.feed, pieces)) + stream.finish()
    assert b"*****" in masked


def test_bytes_by_their_place_are_masked_in_indented_json_too():
    shown = json.dumps({"key": dict(enumerate(UMLAUT.encode())), "size": 20}, indent=2)
    masked = json.loads(Masker([UMLAUT]).mask_text(shown).replace("********", '"all"'))
    assert masked == {"key": {"0": "all"}, "size": 20}


@pytest.mark.parametrize("around", ["p={}\nnext line\n", "Key/{}\n", "the last line\n{}\nNext\n", "a-{}\n"])
@pytest.mark.parametrize("write", [str.upper, str.lower])
def test_base32_is_masked_whatever_stands_beside_it(around, write):
    shown = write(base64.b32encode(TOKEN.encode()).decode())
    assert Masker([TOKEN]).mask(around.format(shown).encode()) == around.format("********").encode()


@pytest.mark.parametrize("size", range(48, 62))
def test_a_short_last_line_of_base32_is_masked_too(size):
    value = (TOKEN + SIGNS)[:size]
    shown = re.sub("(.{76})", "\\1\n", base64.b32encode(value.encode()).decode()).encode()
    assert Masker([value]).mask(b"x\n\n%b\n.\n" % shown).translate(None, b"=\n") == b"x********."


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("correct horse battery staple 4711", b"correct  horse   battery  staple     4711"),
        ("correct  horse battery  staple 4711", b"correct    horse battery   staple  4711"),
        ("horse\tbattery staple 4711", b"horse   battery staple 4711"),
        ("battery\tstaple\t4711 horse", b"battery staple  4711   horse"),
    ],
)
def test_blanks_may_be_more_and_in_place_of_tabs(value, shown):
    assert Masker([value]).mask(b"x  %b  y" % shown) == b"x  ********  y"


SHORT = [
    ("a(b)c@d$e", "a%28b%29c@d$e"),  # as Go's PathEscape
    ("a$b^c@d!e", "a$b%5Ec%40d%21e"),  # as Go's userinfo
    ("abcd\u00fc\u0439efgh", "abcd%FC%u0439efgh"),  # as JavaScript's escape
    ("???>>>aaa>>>", "Pz8%2FPj4%2BYWFhPj4%2B"),
    ("???>>>aaa>>>", "Pz8%2fPj4%2bYWFhPj4%2b"),
    ("???aaaaaa???", "Pz8\\/YWFhYWFhPz8\\/"),
    ("abcdefgh", "MFRGGZDFMZTWQ==="),
    ("abcdefgh", "mfrggzdfmztwq"),
    ("abcdefgh", "6162 6364 6566 6768"),
    ("Zk/Jx9qL", "5A6B 2F4A 7839 714C"),
    ("Kq7Wv9", "\\x4B\\x71\\x37\\x57\\x76\\x39"),
    ("hunter2!", "hunt\ner2!"),
    ("c:R:W}s#A", "c%253AR%253AW%257Ds%2523A"),
    ("c:R:W}s#A", "c&#58;R&#58;W&#125;s&#35;A"),
    ("c:R:W}s#A", "c\\072R\\072W\\175s\\043A"),
    ("Kq\u00e9b\u00fcXzQ", "\\K\\q\\\u00e9\\b\\\u00fc\\X\\z\\Q"),
]

SHORT_AT_ONCE = [  # in small pieces, it may be anything for long
    ("hunter2!", base64.b64encode(base64.b64encode(b"hunter2!")).decode().removesuffix("c9PQ==")),
    ("hunter2", base64.b64encode(base64.b64encode(b"hunter2")).decode()),
    ("Kq7Wv9", "75, 113, 55, 87, 118, 57"),
    ("Kq7Wv9", "4b-71-37-57-76-39"),
    ("abcdefgh", "a\nb\nc\nd\ne\nf\ng\nh"),
    ("abcdefgh", "a b c d e f g h"),
    ("c:R:W}s#A", "c : R : W } s # A"),
]


@pytest.mark.parametrize(("value", "shown"), SHORT_AT_ONCE)
def test_a_short_value_is_masked_in_rare_forms_too(value, shown):
    masked = Masker([value]).mask_text(f"said {shown} end\n")
    assert masked.replace("=", "") == "said ******** end\n"


@pytest.mark.parametrize(("value", "shown"), SHORT)
def test_a_short_value_is_masked_as_whole_as_a_long_one(value, shown):
    for size in (1000, 5, 1):
        stream = Masker([value]).stream()
        text = f"said {shown} end\n".encode()
        pieces = [text[at : at + size] for at in range(0, len(text), size)]
        masked = b"".join(map(stream.feed, pieces)) + stream.finish()
        assert masked.translate(None, b"=\\") == b"said ******** end\n"


@pytest.mark.parametrize("around", [b"", bytes(range(1, 200))])
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize(
    "written",
    [lambda data: f"{'0123456789abcdef' * 4} {data.hex()}", lambda data: base64.b64encode(data).decode()],
)
def test_utf16_is_found_among_other_bytes(written, encoding, around):
    """As behind a hash, or in a packet of a protocol."""
    text = written(around + TOKEN.encode(encoding) + around)
    masked = Masker([TOKEN]).mask(text.encode()).decode()
    before, after = masked.split("********")
    assert len(masked) < len(text) - len(TOKEN)
    assert text.startswith(before)
    assert text.endswith(after)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("value", ["\u043f\u0430\u0440\u043e\u043b\u044c", RUSSIAN])
def test_utf16_of_letters_that_are_not_latin_is_masked(value, encoding):
    assert Masker([value]).mask(b"said %b end\n" % value.encode(encoding)) == b"said ******** end\n"


def test_letters_in_a_warning_of_perl_are_masked():
    masker = Masker(["Zürich-stra\u00dfe-9\u043f\u0430\u0440\u043e\u043b\u044c"])
    warning = (
        b'"Z\xc3\xbcrich-stra\xc3M-^_e-9\xd0\xbf\xd0\xb0\xd1M-\\0\xd0\xbe\xd0\xbb\xd1M-\\f" is not numeric\n'
    )
    assert masker.mask(warning) == b'"********" is not numeric\n'


def test_a_letter_in_the_history_of_zsh_is_masked():
    assert Masker(["abcd\u00dfefgh"]).mask(b": 1:0;x abcd\xc3\x83\xbfefgh\n") == b": 1:0;x ********\n"


ORDINARY = (
    b"a b c d e f g h i j k l m n o p q r s t u v w x y z\n",
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567ABCDEFGHIJKLMNOPQRSTUVWXYZ234567\n",
    b"begin 644 of the work\nMany lines\n",
    b"U+0041 U+0042 U+0043 U+0044 U+0045 U+0046 U+0047 U+0048\n",
    b"0000000 5a 6b 33 4a\n0000010 00 00 00 00\n",
    b"1 2 3 4 5 6 7 8 9 10 11 12 -13 -14 -15\n",
)


@pytest.mark.parametrize("text", ORDINARY)
def test_what_only_looks_like_it_is_left_alone(text):
    assert Masker([value for value, _ in WAYS.values()]).mask(text) == text


@pytest.mark.parametrize("behind", [b'",', b"\\", b"-", b" -", b" 0", b"|"])
def test_a_long_hash_behind_what_may_be_an_address_takes_no_time(behind):
    text = b"  0040: " + b"0123abcd" * 40 + behind + b"\n"  # else more than a lifetime
    assert Masker([TOKEN]).mask(text) == text


@pytest.mark.parametrize(
    "unit",
    [
        b"\\",
        b"'\"",
        b"', '",
        b"0123abcd",
        b'{"a":[',
        b'\\"',
        b"%25",
        b"&amp;",
        b"\x1b[31m",
        b"=?utf-8?q?",
        b"0   ",
        b"{0: ",
        b"<a",
        b"' b'",
        b"\n[0] => ",
    ],
)
@pytest.mark.parametrize("size", [1 << 16, pytest.param(1 << 18, marks=pytest.mark.torture)])
def test_a_long_line_of_anything_takes_no_time(unit, size):
    text = unit * (size // len(unit))  # else minutes: each character looked through to the end of the line
    assert Masker([TOKEN, "C:\\new\\table\\x41\\066end"]).mask(text) == text


NAMES = " ".join(f"-I/usr/lib/gcc/x86_64-linux-gnu/Include_{at}/Modules" for at in range(6))


@pytest.mark.parametrize("name", [name for name in WAYS if name != "uuencode"])
def test_nothing_is_left_between_names_that_may_be_base64(name):
    value, shown = WAYS[name]
    alone = Masker([value]).mask(f".\n{shown}\n.".encode())
    assert Masker([value]).mask(f"{NAMES}:.\n{shown}\n.:{NAMES}".encode()) == b"%b:%b:%b" % (
        NAMES.encode(),
        alone,
        NAMES.encode(),
    )


BASE64 = {
    "text": base64.b64encode,
    "bytes": lambda data: base64.b64encode(b"\x00\xff\x9c\xff\xff\xff" + data + b"\xff\xff\x00\xff\xff"),
    "without padding": lambda data: base64.urlsafe_b64encode(data).rstrip(b"="),
    "twice": lambda data: base64.b64encode(base64.b64encode(data)),
    "in hex": lambda data: base64.b64encode(data.hex().encode()),
    "wrapped": lambda data: b"\n  ".join(base64.encodebytes(b"\xfe" + 9 * data).split()),
}


@pytest.mark.parametrize("before", range(4))
@pytest.mark.parametrize("form", BASE64)
def test_base64_is_found_between_names_at_each_place_and_each_time(form, before):
    names = [NAMES.encode()[at:] for at in range(4)]  # so many characters before it, modulo four
    shown = BASE64[form](b"u" * before + TOKEN.encode())
    masked = Masker([TOKEN]).mask(b" :%b: ".join(names) % ((shown,) * 3))
    pieces = re.split(rb" :|: ", masked)
    assert pieces[::2] == names
    assert all(b"*****" in piece for piece in pieces[1::2])
    assert all(len(piece.replace(b"*", b"")) <= len(shown) / 4 + 16 for piece in pieces[1::2]), masked


@pytest.mark.parametrize("width", [38, 64])
@pytest.mark.parametrize(
    "between",
    [
        *("\n", "\r\n  ", "\\n", "\\\\n", "\\r\\n", "%0A", "%0D%0A"),
        *("\n> ", " |\n| ", " \u2502\n\u2502 ", "\n# ", "\n0067: "),
    ],
)
def test_base64_is_one_find_whatever_breaks_its_lines(between, width):
    value = TOKEN + TOKEN.swapcase()
    shown = base64.b64encode(f"a text before it, {value} and behind".encode()).decode()
    lines = [shown[at : at + width] for at in range(0, len(shown), width)]
    assert Masker([value]).mask_text(f"{between.join(lines)}.") == f"{shown[:24]}********{shown[-15:]}."


@pytest.mark.parametrize(
    "number",
    ["{}", "{}\n2026", "{}\r\n", "12\n{}", "\n{}\nab\n", "{0:.40}\n{0:.40}", "{0:.16}\n{0:.30}\n{0:.22}"],
)
def test_digits_that_are_one_number_are_read_where_they_may_be_text(number):
    digits = TOKEN.encode().hex()
    hashes = [hashlib.sha256(str(count).encode()).hexdigest() for count in range(40)]
    text = "\n".join(f"commit={one}." for one in hashes) + f"\nvalue={number.format(digits)}.\n"
    masked = Masker([TOKEN]).mask_text(text)
    assert masked.startswith(text[: text.index("value=") + 6])
    assert "****" in masked
    assert digits[:24] not in masked


@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("byte", ["0x%02x", "0X%02X", "%02x"])
def test_bytes_in_quotes_are_masked_though_they_are_written_one_by_one(byte, size):
    text = f"said {[byte % one for one in TOKEN.encode()]} end\n".encode()
    stream = Masker([TOKEN]).stream()
    masked = b"".join(stream.feed(text[at : at + size]) for at in range(0, len(text), size)) + stream.finish()
    assert re.fullmatch(rb"said \['.{0,24}\*{8}.{0,16}'\] end\n", masked), masked


@pytest.mark.parametrize("before", ["", "7", "0a", "0a7"])
@pytest.mark.parametrize("form", ["utf-8", "utf-16-le", "utf-16-be"])
def test_hexadecimal_digits_are_found_between_hashes_of_any_length(form, before):
    hashes = [hashlib.sha256(bytes([at])).hexdigest()[: 40 + at % 4] for at in range(90)]
    shown = before + TOKEN.encode(form).hex()
    for place in (0, 41, 89):
        words = [*hashes[:place], shown, *hashes[place:]]
        masked = Masker([TOKEN]).mask(f"who is {' id='.join(words)} id=".encode()).decode()
        found = masked.removeprefix("who is ").removesuffix(" id=").split(" id=")
        assert found[:place] + found[place + 1 :] == hashes
        assert found[place].replace("*", "") in {before, before + "00", before[:-2]}
        assert "********" in found[place]


@pytest.mark.parametrize("name", WAYS)
def test_logs_objects_and_scan_find_it_as_streams_do(name):
    value, shown = WAYS[name]
    text = f"{'begin 644 x' if name == 'uuencode' else 'said'}\n{shown} end\n"
    masker = Masker()
    masker.finder.add(value, "token")
    for part in expanded(value):
        masker.finder.add(part, "token")
    expected = masker.mask_text(text)
    record = logging.LogRecord("app", logging.INFO, "app.py", 1, text, None, None)
    assert MaskingFilter(masker).filter(record)
    assert record.getMessage() == expected != text
    assert mask({"lines": [text]}, masker=masker) == {"lines": [expected]}
    assert {match.secret for match in find_matches("file", io.BytesIO(text.encode()), masker)} == {"token"}


@pytest.mark.parametrize("sign", sorted(views._SIGNS), ids=repr)
def test_a_short_text_is_looked_through_for_the_signs_of_a_long_one(sign):
    """They are searched in another way; those of colours mean something behind a backslash alone."""
    colour = sign in views._COLOURED
    text = b"\\ " * colour + b"a" + sign + b"x"
    assert sign in views._signs(text)
    assert sign in views._signs(text.ljust(views._SHORT))
