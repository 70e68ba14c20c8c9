"""What programs dump of a value is masked, whatever pieces the dump comes in."""

from __future__ import annotations

import binascii
import itertools
import random
import shutil
import subprocess

import pytest
from sampling import crossed, sample
from strongroom.masking import MARK, Masker
from strongroom.masking.dumps import characters_at, dumped_at_end

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
LETTERS_AND_SIGNS = LETTERS * 3 + "!#$%&/()=?+-_.:;, \\'\""
PROGRAMS = (
    *("hexdump", "hexdump -C", "hexdump -c", "hexdump -b", "hexdump -d", "hexdump -o", "hexdump -x"),
    *("od", "od -c", "od -a", "od -b", "od -x", "od -tx1", "od -tx1z -Ax", "od -tx4", "od -tx8", "od -c -Ax"),
    *("od -tu1", "od -tu1 -Ad -w8", "od -to1 -Ax", "od -tu2", "od -tu4", "od -tu8", "od -tx1c"),
    *(
        "od -An -c",
        "od -An -a",
        "od -An -td1",
        "od -to1 -Ad",
        "xxd",
        "xxd -p",
        "xxd -i",
        "xxd -b",
        "uuencode",
    ),
)


def dumped(program, data):
    if program == "uuencode":  # by Python, which every machine has
        lines = (binascii.b2a_uu(data[at : at + 45]) for at in range(0, len(data), 45))
        return b"".join((b"begin 644 x\n", *lines, b"`\nend\n"))
    if shutil.which(program.split()[0]) is None:
        pytest.skip("the program is not installed")
    return subprocess.run(program.split(), input=data, stdout=subprocess.PIPE, check=True).stdout


def left(shown):
    return len(shown.replace(MARK, b""))


def judged(program, size, alphabet, text, cuts):
    chance = random.Random(size)
    value = "".join(chance.choices(alphabet, k=size))
    masker = Masker([value])
    # What is left of the first and the last address, and of what is dumped beside the value in their lines.
    around = 32 * 12 + 2 * len(dumped(program, b"x"))
    whole = dumped(program, text + value.encode())
    shown = left(masker.mask(whole))
    assert shown <= left(dumped(program, text)) + around
    for first, cut in cuts:
        stream = masker.stream()
        pieces = [whole[:first], *(whole[at : at + cut] for at in range(first, len(whole), cut))]
        streamed = b"".join(map(stream.feed, pieces)) + stream.finish()
        assert left(streamed) <= shown + 6, (program, size, first, cut)  # the stream's first number


@pytest.mark.parametrize("program", PROGRAMS)
def test_what_is_dumped_is_masked_in_whatever_pieces_it_comes(program):
    judged(program, 300, LETTERS_AND_SIGNS, b"some text of it, " * 40, ((341, 512),))
    judged(program, 40, LETTERS, b"", ((7, 90),))


SEVERAL_FORMS = (
    *("od -tx1c", "od -tx1a", "od -bc", "od -tu1c", "od -tcx1", "od -tx2c", "od -xc", "od -ca", "od -to1c"),
    *(
        "od -cb",
        "od -tx1c -w32",
        "od -tx1cz",
        "od -tx1 -bc",
        "hexdump -bc",
        "od -td1c",
        "od -td2c",
        "od -to2x1",
    ),
    *(
        "od -Ax -tx1c",
        "od -Ad -tu1c",
        "od -Ax -td1x1",
        "od -to1c -w8",
        "od -tx8c",
        "od -An -bc",
        "od -An -cb",
    ),
    *("od -An -tx1c", "od -An -td1c", "od -An -tx2c", "od -An -to1x1", "od -An -b -tx1c"),
)


def shows(shown, value):
    """Return whether `shown` has eight bytes of the value in a row in any form."""
    forms = (b"%c", b"%02x", b"%03o", b"%d")
    flat = b"".join(shown.split())
    parts = (value[at : at + 8] for at in range(len(value) - 7))
    return any(b"".join(form % byte for byte in part) in flat for part in parts for form in forms)


@pytest.mark.parametrize(("program", "text"), crossed(SEVERAL_FORMS, [b"", b"log line before\n" * 3]))
def test_a_dump_that_has_each_line_in_several_forms_is_masked_in_all(program, text):
    for size in (8, 15, 40):
        value = "".join(random.Random(size).choices(LETTERS, k=size)).encode()
        whole = b"a line\n" + dumped(program, text + value + b" more\n") + b"a line\n"
        masker = Masker([value.decode()])
        assert shows(whole, value)
        shown = masker.mask(whole)
        assert not shows(shown, value), (size, shown)
        assert shown.startswith((b"a line\n000000", b"a line\n" + MARK, b"a line\n ", b"a line\n\0"))
        assert shown.endswith(b"\na line\n")
        for cut in (1, 90) if size == 8 else (7,):
            stream = masker.stream()
            pieces = (whole[at : at + cut] for at in range(0, len(whole), cut))
            streamed = b"".join(map(stream.feed, pieces)) + stream.finish()
            assert not shows(streamed, value), (size, cut, streamed)


@pytest.mark.parametrize("program", sample(SEVERAL_FORMS, one_in=2))
def test_a_value_far_behind_the_beginning_of_a_dump_in_several_forms_is_masked_in_all(program):
    value = "".join(random.Random(program).choices(LETTERS, k=23)).encode()
    whole = dumped(program, b"other text, " * 250 + value + b" more\n") + b"a line\n"
    stream = Masker([value.decode()]).stream()
    pieces = (whole[at : at + 1024] for at in range(0, len(whole), 1024))
    streamed = b"".join(map(stream.feed, pieces)) + stream.finish()
    assert shows(whole, value)
    assert not shows(streamed, value), streamed[-2000:]
    assert streamed[:5000] == whole[:5000]


@pytest.mark.torture
@pytest.mark.parametrize("alphabet", [LETTERS, LETTERS_AND_SIGNS], ids=["letters", "signs"])
@pytest.mark.parametrize("size", [40, 300, 886])
@pytest.mark.parametrize("program", PROGRAMS)
def test_what_is_dumped_is_masked_wherever_it_is_cut(program, size, alphabet):
    for text in (b"", b"x" * 100 + b"\n", b"some text of it, " * 400):
        judged(program, size, alphabet, text, [(first, 512) for first in range(1, 513, 73)])


@pytest.mark.parametrize("program", ["od -c", "hexdump -c", "od -a", "od -An -a"])
def test_letters_outside_of_ascii_are_masked_in_a_dump_of_characters(program):
    value = "\u043f\u0430\u0440\u043e\u043b\u044c-Zürich-straße-9 mit Wort"
    shown = Masker([value]).mask(dumped(program, value.encode()))
    assert left(shown) <= 80


def test_a_value_deep_in_a_dump_is_masked_in_a_stream():
    """Neither the dump's first address nor uuencode's first line is held for so long."""
    for program in ("od -c", "uuencode"):
        judged(program, 40, LETTERS, b"another text, " * 5000, ((1, 4096),))


@pytest.mark.parametrize(
    ("text", "held"),
    [
        (b"a line\n0000000   k   3   J   x\n0000020   9", 35),
        (b"a line\n00000000: 6b33 4a78  k3Jx\n", 26),
        (b"a line\nbegin 644 x\n", 12),
        (b"a line\n*\n", 2),
        (b"2026-11-29 05:49:15 started\n", 0),
        (b"a line\nand another one\n", 0),
        (b"password: ", 0),
    ],
)
def test_the_lines_of_a_dump_are_held_and_no_others(text, held):
    assert dumped_at_end(text, 4096) == held


def test_no_more_of_a_dump_is_held_than_is_needed():
    text = b"".join(b"%08x: 6b33 4a78 6b33 4a78  k3Jxk3Jx\n" % (8 * line) for line in range(1000))
    assert 2000 <= dumped_at_end(text, 2000) < 2100


@pytest.mark.parametrize("rows", [1, 7, 8, 9, 200])
def test_a_table_of_a_values_first_digits_is_looked_through_few_times(rows, monkeypatch):
    value = "000k3Jx9qLw2Z7mNc4Rv8pTb6YdF1sGh"
    calls = []

    def counted(*arguments):
        calls.append(arguments)
        return characters_at(*arguments)

    monkeypatch.setattr("strongroom.masking.apart.characters_at", counted)
    table = (b"   0" * 16 + b"\n") * rows
    shown = table + dumped("od -An -c", b"0" * 13 + value.encode())
    masked = Masker([value]).mask(shown)
    assert masked == table + b"   0" * 13 + b"   " + MARK + b"\n"
    assert len(calls) <= len(shown) / (4 * len(value)) + 4


@pytest.mark.parametrize("seeds", [range(4), pytest.param(range(4, 20), marks=pytest.mark.torture)], ids=str)
@pytest.mark.parametrize("before", [b"", b"said\n"])
def test_all_lines_of_uuencode_are_masked_without_its_beginning(before, seeds):
    for seed in seeds:
        chance = random.Random(seed)
        value = "".join(chance.choices("abcxyzABCXYZ0123789-_.:;,!#", k=250))
        lines = b"".join(binascii.b2a_uu(value[at : at + 45].encode()) for at in range(0, len(value), 45))
        assert Masker([value]).mask(before + lines + b"`\n") == before + b"********\n`\n"
        for size in (1, 7, 50, 100):
            stream = Masker([value]).stream()
            shown = before + lines + b"`\n"
            pieces = [shown[at : at + size] for at in range(0, len(shown), size)]
            assert left(b"".join(map(stream.feed, pieces)) + stream.finish()) < len(before) + 20


@pytest.mark.parametrize(
    ("first", "second"), [("hexdump -C", "hexdump -d"), ("hexdump -x", "od"), ("od", "od -tx1")]
)
def test_a_dump_that_follows_another_kind_of_dump_is_masked(first, second):
    value = "k3Jx9qLw2Z7mNc4Rv8pTb6YdF1sGh5Aj"
    masker = Masker([value])
    one, other = dumped(first, value.encode()), dumped(second, value.encode())
    assert left(masker.mask(one + other)) <= left(masker.mask(one)) + left(masker.mask(other))


FOLLOWING = (
    *("od -An -b", "od -An -c", "od -An -tx1", "od -An -td1", "od -An -tx2c", "od -An -tx1c", "od -An -td1c"),
    *("od -An -tu1c", "od -An -bc", "od -An -cx", "od -An -to1x1", "od -td1c", "od -Ax -tx1c"),
)
IN_A_ROW = [
    *("od -An -bc; od -td1c", "od -tx1c; od -An -bc; od -td1c", "od -tx1c; od -An -tx1; od -An -td1"),
    *("od -An -c; od -An -c", "od -An -b; od -An -tx1c", "od -An -bc; od -An -c", "od -An -b; od -An -tx1"),
    *("od -An -td1; od -An -b", "od -Ax -tx1c; od -An -b", "od -An -to1x1; od -An -tu1c"),
    "od -An -to1x1; od -An -bc",
]


@pytest.mark.parametrize(
    "programs", [*IN_A_ROW, *sample(map("; ".join, itertools.product(FOLLOWING, FOLLOWING)), one_in=20)]
)
def test_a_dump_that_follows_one_in_other_forms_is_masked(programs):
    for value in (b"t-0123456789abcdefXYZ~zz", "".join(random.Random(1).choices(LETTERS, k=90)).encode()):
        whole = b"".join(dumped(program, value) for program in programs.split("; "))
        masker = Masker([value.decode()])
        assert shows(whole, value)
        assert not shows(masker.mask(whole), value)
        for cut in (17, 50) if len(value) < 50 else ():
            stream = masker.stream()
            pieces = (whole[at : at + cut] for at in range(0, len(whole), cut))
            streamed = b"".join(map(stream.feed, pieces)) + stream.finish()
            assert not shows(streamed, value), (cut, streamed)


@pytest.mark.torture
def test_many_short_dumps_in_a_row_take_no_time():
    text = b"0000000 12 34\n" * 20_000  # else minutes: for each one all others are looked through
    assert Masker(["k3Jx9qLw2Z7mNc4Rv8p"]).mask(text) == text
