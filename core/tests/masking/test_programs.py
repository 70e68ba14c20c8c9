"""Real programs print values; nothing that matters of them comes through."""

from __future__ import annotations

import base64
import html
import json
import os
import quopri
import random
import re
import shlex
import shutil
import subprocess
import sys
from itertools import pairwise
from urllib.parse import quote, quote_plus

import pytest
from strongroom.masking import MARK, Masker

VALUES = {
    "symbols": "pa'ss \"w$rd\\ü/+=&<x>\nsecond line of it",
    "letters": "k3Jx9qLw2Z7mNc4Rv8pTb6YdF1sGh5Aj",
    "base64": "Qm9/x+Zk3Jx9qLw2Z7mNc4Rv8pTb6YdF1sGh5Aj+k3Jx9/Lw2Z7mNc4Rv8pT/6YdF1sGh5AjQm9xZk3J",
}
PROGRAMS = {
    "printenv": "printenv S",
    "set -x": "bash -c 'set -x; : \"$S\"'",
    "set -x, a comparison": "bash -c 'set -x; [[ x == \"$S\" ]]'",
    "printf %q": "bash -c 'printf %q \"$S\"'",
    "declare -p in the C locale": "LC_ALL=C bash -c 'declare -p S'",
    "base64": 'printf %s "$S" | base64',
    "base64 of a login, wrapped": "printf 'x-access-token:%s' \"$S\" | base64 -w 60",
    "base64 twice": 'printf %s "$S" | base64 -w0 | base64 -w0',
    "od": 'printf %s "$S" | od -An -tx1',
    "od with addresses": 'printf %s "$S" | od -tx1',
    "od of words": 'printf %s "$S" | od',
    "od -c": 'printf %s "$S" | od -c',
    "sed l": "printf '%s\\n' \"$S\" | sed -n l",
    "fold": 'printf %s "$S" | fold -w 20',
    "cat -A": 'printf %s "$S" | cat -A',
    "xxd": 'printf %s "$S" | xxd',
    "xxd -p": 'printf %s "$S" | xxd -p',
    "git": 'git config --global --get no.such || git -c "x.y=$S" config x.y',
    "python repr": "{python} -c 'import os; print(ascii(os.environ))'",
    "python csv": "{python} -c 'import os,csv,sys; csv.writer(sys.stdout).writerow([os.environ[\"S\"]])'",
    "python bytes as a list": "{python} -c 'import os; print(list(os.environb[b\"S\"]))'",
    "python colours": (
        '{python} -c \'import os,re; print(re.sub("([^A-Za-z0-9])", "\\x1b[1m\\\\1\\x1b[0m", os.environ["S"]))\''
    ),
    "python textwrap": "{python} -c 'import os,textwrap; print(textwrap.fill(os.environ[\"S\"], 24))'",
    "node buffer": "node -e 'console.log(JSON.stringify(Buffer.from(process.env.S)))'",
    "node URL": "node -e 'console.log(new URLSearchParams({p:process.env.S}).toString())'",
}


PART = 24  # bytes of two encoders that are six of the value's, and what escapes the first of them


def letters(data):
    return re.sub(rb"[^A-Za-z0-9]", b"", data)


def readable(shown, value):
    """Return the longest run of `value`'s letters and digits in `shown`, as it stands."""
    text, wanted = letters(shown), letters(value.encode())
    return max(
        (
            size
            for at in range(len(wanted))
            for size in range(1, len(wanted) - at + 1)
            if wanted[at : at + size] in text
        ),
        default=0,
    )


@pytest.mark.parametrize("name", PROGRAMS)
def test_what_programs_print_is_masked(name, tmp_path):
    script = PROGRAMS[name].replace("{python}", sys.executable)
    if shutil.which(script.split("|")[-1].split()[0].split("=")[0]) is None and "LC_ALL" not in script:
        pytest.skip("the program is not installed")
    for value in VALUES.values():
        shown = subprocess.run(
            ["bash", "-c", script],  # wherever it is
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "LC_ALL": "C.UTF-8", "S": value},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        ).stdout
        assert shown
        masked = Masker([value]).mask(shown)
        assert b"****" in masked or value == VALUES["symbols"]
        assert readable(masked, value) < 12


def escaped(text, form):
    return "".join(char if char.isalnum() or char in "_-" else form % ord(char) for char in text)


ENCODERS = {
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64 behind a name": lambda text: base64.urlsafe_b64encode(b"user:" + text.encode()).decode(),
    "hex": lambda text: text.encode().hex(),
    "URL": lambda text: quote(text, safe=""),
    "form": quote_plus,
    "JSON": json.dumps,
    "HTML": html.escape,
    "repr": repr,
    "CSV": lambda text: text.replace('"', '""'),
    "list": lambda text: str(list(text.encode())),
    "base32": lambda text: base64.b32encode(text.encode()).decode(),
    "bytes": lambda text: repr(text.encode()),
    "shell": shlex.quote,
    "octal": lambda text: escaped(text, "\\%03o"),
    "backslashes and x": lambda text: escaped(text, "\\x%02x"),
    "entities": lambda text: escaped(text, "&#%d;"),
    "quoted-printable": lambda text: quopri.encodestring(text.encode()).decode(),
    "wrapped": lambda text: "\n".join(text[at : at + 30] for at in range(0, len(text), 30)),
}


SYMBOLS = "ab<cd&efGh2x\"Kq7\u00fcWv9ZpLm\\4tRs'eN8yUo"
NUMBERS = "Nq7RkLm2Wv9ZpXt4sYb8Hd3F"
HARD = "Kq7W+2b8.tR;4-U9x#P,c5"


def broken(text, width, end="\n"):
    return end.join(text[at : at + width] for at in range(0, len(text), width))


CHAINS = {
    "HTML in a URL": (SYMBOLS, quote(html.escape(SYMBOLS), safe="")),
    "HTML in JSON, as Go writes it": (SYMBOLS, html.escape(SYMBOLS).replace("&", "\\u0026")),
    "JSON in a URL": (SYMBOLS, quote(json.dumps(SYMBOLS), safe="")),
    "JSON in HTML": (SYMBOLS, html.escape(json.dumps(SYMBOLS))),
    "doubled quotes in a URL": (SYMBOLS, quote(SYMBOLS.replace('"', '""'), safe="")),
    "broken, then in JSON": (SYMBOLS, json.dumps(broken(SYMBOLS, 9))),
    "broken, then in a URL": (SYMBOLS, quote(broken(SYMBOLS, 9), safe="")),
    "broken, then in HTML": (SYMBOLS, html.escape(broken(SYMBOLS, 9)).replace("\n", "&#10;")),
    "broken twice": (SYMBOLS, broken(SYMBOLS, 9).replace("\n", "\n\n")),
    "an escape that a line end breaks": ("Kq7Wv9Zp&4tRs8yUo2x", "Kq7Wv9Zp%2\n64tRs8yUo2x"),
    "numbers that a line end breaks": (NUMBERS, broken(str(list(NUMBERS.encode())), 10)),
    "hexadecimal lines as long as no address": (NUMBERS, broken(NUMBERS.encode().hex(), 24)),
    "an escape that goes on as the value does": (
        "Kq7Wv9Zp4t%2q7+1=Tu%29-x.8/4",
        "Kq7Wv9Zp4t%252q7+1=Tu%2529-x.8/4",
    ),
    "an escape that ends as the value does": (
        "x.3Kw;5s!=B7=WK;J4HNLDcpwlan",
        escaped("x.3Kw;5s!=B7=WK;J4HNLDcpwlan", "&#%d;"),
    ),
    "an entity in a URL whose sign is the value's": (
        "bF6oT4HF!U%yZ+co,x-zqL%7",
        quote(escaped("bF6oT4HF!U%yZ+co,x-zqL%7", "&#%d;"), safe=""),
    ),
    "an entity that goes on as the value does": (
        "Kq7Wv9Zp4t&a?O+;9Vf$gM8:NT.h=4",
        "Kq7Wv9Zp4t&amp;a?O+;9Vf$gM8:NT.h=4",
    ),
    "a line end before a sign that begins an escape": (
        "Kq7Wv9Zp4t%R-8/yUo+2x%G:7",
        "Kq7Wv9Zp4t%0A%25R-8/yUo+2x%25G:7",
    ),
    "hexadecimal lines of which the last is as an address": (HARD, broken(HARD.encode().hex(), 30)),
    "line ends in all long runs": (
        "t8=TY=ED.b-M!qOLmcvnO.It!p9f=EBwUdX%t4",
        "t8=TY=ED.b-M!qOL\nmcvnO.It!p9f=EBw\nUdX%t4",
    ),
    "a line end in the only long run": ("Kq-Wv9Z+pLm4.tRsyUo%x", "Kq-Wv9Z+pLm4.tRs\nyUo%x"),
}


@pytest.mark.parametrize("name", CHAINS)
def test_one_encoder_behind_another_is_followed_to_both_sides(name):
    value, shown = CHAINS[name]
    text = f"said {shown} end".encode()
    spans = list(_joined(Masker([value]).finder.find(text)))
    at = text.index(shown.encode())
    assert spans
    # The encoder's own quotes, and the brackets of a list, are not the value's.
    assert sum(stop - start for start, stop in spans) >= len(shown.encode()) - 12
    assert all(at <= start and stop <= at + len(shown.encode()) for start, stop in spans)


@pytest.mark.parametrize("sign", "|'\".+>~#*/;!-=")
@pytest.mark.parametrize("outer", ["JSON", "URL", "HTML"])
def test_a_sign_of_the_value_behind_a_broken_line_is_not_taken_for_a_border(sign, outer):
    value = f"Kq7Wv9Zp4tRs8yUo2x{sign}{sign}r-6S_b.Y:n=T-w"
    lines = value.replace(sign, f"\n{sign}", 1)
    encoded = {"JSON": json.dumps, "URL": lambda text: quote(text, safe=""), "HTML": html.escape}[outer](
        lines
    )
    shown = encoded.replace("\n", "&#10;").encode()
    masked = Masker([value]).mask(b"said " + shown + b" end")
    assert b"S_b" not in masked
    assert masked.startswith(b"said ")
    assert masked.endswith(b" end")


def random_chains(count):
    """Yield random values, each with what two encoders and perhaps broken lines make of it."""
    chance = random.Random(count)
    alphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789" * 2 + "!#$%&/()=?+-_.:;,"
    for _ in range(count):
        value = "".join(chance.choices(alphabet, k=chance.randint(20, 60)))
        inner, outer = chance.choices(list(ENCODERS), k=2)
        text = ENCODERS[outer](ENCODERS[inner](value))
        end, width = chance.choice(["", "\n", "\r\n", "\n> ", "\n| ", "\\\n"]), chance.randint(24, 80)
        if end and "wrapped" not in {inner, outer}:
            text = broken(text, width, end)
        yield value, text.encode(), (inner, outer, end, width)


@pytest.mark.parametrize("count", [90, pytest.param(30_000, marks=pytest.mark.torture)])
def test_random_values_through_two_encoders_are_found(count):
    for value, shown, how in random_chains(count):
        spans = Masker([value]).finder.find(b"said " + shown + b" end")
        covered = sum(stop - start for start, stop in _joined(spans))
        # What is around the value, and a base64 character that also holds others' bits, are not masked.
        assert covered >= len(shown) * 0.45, (value, how)


@pytest.mark.parametrize("count", [120, pytest.param(30_000, marks=pytest.mark.torture)])
def test_random_values_through_two_encoders_are_masked_wherever_their_stream_is_cut(count):
    chance = random.Random(-count)
    for value, shown, how in random_chains(count):
        data = b"said " + shown + b" end\n"
        masker = Masker([value])
        places = sorted(chance.sample(range(1, len(data)), chance.randint(1, 4)))
        stream = masker.stream()
        pieces = [stream.feed(data[start:stop]) for start, stop in pairwise([0, *places, len(data)])]
        masked = b"".join(pieces) + stream.finish()
        assert unmasked(masked) < unmasked(masker.mask(data)) + PART, (value, how, places)


def unmasked(masked):
    return len(masked.replace(MARK, b""))


def _joined(spans):
    at = 0
    for one in spans:
        if one.stop > at:
            yield max(at, one.start), one.stop
            at = one.stop
