from __future__ import annotations

import base64
import html
import itertools
import json
import random
import re
import shlex
import shutil
import subprocess
from itertools import pairwise
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sampling import crossed
from strongroom.masking import MARK, MIN_CHARACTERS, Masker, forms, json_texts
from strongroom.masking.partial import partial_at_end
from strongroom.masking.parts import parts

VALUE = 'p@ss "w/rd"\t<ü>&~'
PEM = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG\n9w0BAQEFAASCBKcwggSj\n-----END KEY-----\n"


def streamed(masker: Masker, pieces: list[bytes]) -> bytes:
    stream = masker.stream()
    return b"".join(map(stream.feed, pieces)) + stream.finish()


def test_masks_the_value_itself():
    assert Masker(["hunter22"]).mask(b"user=x password=hunter22\n") == b"user=x password=" + MARK + b"\n"


def test_leaves_everything_else_as_it_is():
    data = bytes(range(256)) * 3
    assert Masker(["hunter22"]).mask(data) == data


@pytest.mark.parametrize(
    "encoded",
    [
        VALUE,
        json.dumps(VALUE)[1:-1],
        json.dumps(VALUE, ensure_ascii=False)[1:-1],
        json.dumps(json.dumps(VALUE))[3:-3],
        json.dumps(VALUE).replace("/", "\\/")[1:-1],
        json.dumps(VALUE).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")[1:-1],
        quote(VALUE),
        quote(VALUE, safe=""),
        quote(VALUE, safe="").lower().replace("%c3%bc", "%c3%bc"),
        quote_plus(VALUE),
        quote(VALUE, safe="!'()*~"),
        VALUE.encode().hex(),
        VALUE.encode().hex().upper(),
        repr(VALUE)[1:-1],
        ascii(VALUE)[1:-1],
        repr(VALUE.encode())[2:-1],
        repr(["it's", VALUE])[len("""["it's", '""") : -2],
        html.escape(VALUE),
        html.escape(VALUE, quote=False),
        html.escape(VALUE).replace("&quot;", "&#34;"),
    ],
)
def test_masks_escaped_forms(encoded):
    assert Masker([VALUE]).mask(b"a=" + encoded.encode() + b";") == b"a=" + MARK + b";"


@pytest.mark.parametrize("alphabet", [base64.b64encode, base64.urlsafe_b64encode])
@pytest.mark.parametrize("before", [b"", b"u", b"us", b"use", b"user:"])
@pytest.mark.parametrize("after", [b"", b"x", b"xy", b"xyz"])
def test_masks_base64_at_every_alignment(alphabet, before, after):
    value = "ab>?ÿ~secret"  # has + and / in its base64
    shown = Masker([value]).mask(alphabet(before + value.encode() + after))
    assert MARK in shown
    # At most the characters that hold bits of the neighbours too are left.
    left = shown.replace(MARK, b"").rstrip(b"=")
    assert len(left) <= len(base64.b64encode(before)) + len(base64.b64encode(after)) + 2


def test_masks_each_line_of_a_multi_line_value_also_with_a_terminals_line_ends():
    masker = Masker([PEM])
    assert masker.mask(b"x 9w0BAQEFAASCBKcwggSj y") == b"x " + MARK + b" y"
    assert masker.mask(PEM.encode().replace(b"\n", b"\r\n")) == MARK
    assert masker.mask(b"a\n    b\n") == b"a\n    b\n"


def test_blank_and_short_lines_of_a_value_are_no_secrets():
    assert Masker(["{\n      \n   }\nabcdef"]).mask(b"      x }") == b"      x }"


def test_values_under_four_characters_are_not_looked_for():
    assert not Masker(["abc", "", "äöü"])
    assert Masker(["abc"]).mask(b"abc") == b"abc"


def test_overlapping_values_leave_nothing_behind():
    assert Masker(["abcdef", "efghij"]).mask(b"<abcdefghij>") == b"<" + MARK + b">"
    assert Masker(["abcd", "abcdefgh"]).mask(b"<abcdefgh>") == b"<" + MARK + b">"
    assert Masker(["abcdefgh", "cdef"]).mask(b"<abcdefgh>") == b"<" + MARK + b">"


@given(
    values=st.lists(st.text("abAB+/ \nü", min_size=4, max_size=20), min_size=1, max_size=4),
    chosen=st.lists(st.one_of(st.integers(0, 3), st.binary(max_size=6)), max_size=8),
    cuts=st.lists(st.integers(0, 200), max_size=12),
)
@settings(max_examples=60, derandomize=True, deadline=None)
def test_how_a_stream_is_cut_changes_nothing(values, chosen, cuts):
    """The pieces are at the mercy of the child's buffering."""
    data = b"".join(
        part if isinstance(part, bytes) else values[part % len(values)].encode() for part in chosen
    )
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    pieces = [data[start:end] for start, end in pairwise(places)]
    masker = Masker(values)
    assert streamed(masker, pieces) == masker.mask(data)


@given(
    values=st.lists(st.text("abc12", min_size=3, max_size=8).map("7{}".format), min_size=1, max_size=5),
    data=st.text("abc127", max_size=60),
)
@settings(max_examples=60, derandomize=True, deadline=None)
def test_covers_exactly_the_bytes_of_all_finds(values, data):
    text = data.encode()
    covered = [False] * len(text)
    for form in {form for value in values for form in forms(value)}:
        at = text.find(form)
        while at >= 0:
            covered[at : at + len(form)] = [True] * len(form)
            at = text.find(form, at + 1)
    kept = bytes(byte for byte, hidden in zip(text, covered, strict=True) if not hidden)
    assert Masker(values, mark=b"").mask(text) == kept


def test_an_undecided_tail_is_held_and_then_told():
    stream = Masker(["hunter22"]).stream()
    assert stream.feed(b"a hun") == b"a "
    assert stream.feed(b"dred") == b"hundred"


def test_a_short_tail_can_be_released_and_what_follows_it_is_still_masked():
    stream = Masker(["hunter22"]).stream()
    stream.feed(b"hun")
    assert stream.holds
    assert stream.release() == b"hun"
    assert not stream.holds
    assert stream.release() == b""
    assert stream.feed(b"ter22!") == MARK + b"!"


def test_a_released_tail_that_was_no_value_is_not_told_twice():
    stream = Masker(["hunter22"]).stream()
    assert stream.feed(b"hun") + stream.release() + stream.feed(b"dred") + stream.finish() == b"hundred"


def test_four_characters_of_a_value_are_not_released_before_the_end():
    stream = Masker(["hunter22", "süßwasser"]).stream()
    assert stream.feed(b"hunt") == b""
    assert not stream.holds
    assert stream.release() == b""
    assert stream.finish() == b"hunt"
    other = Masker(["süßwasser"]).stream()
    other.feed("süß".encode())
    assert other.holds  # three characters, though five bytes


def test_a_value_that_another_one_begins_with_is_masked_once():
    masker = Masker(["abc1ef", "abc1efghij"])
    assert streamed(masker, [b"abc1ef", b"ghij."]) == MARK + b"."
    assert streamed(masker, [b"abc1ef", b"gh."]) == MARK + b"gh."


def test_plain_words_are_masked_as_whole_tokens_alone():
    masker = Masker(["info", "postgres", "Shop"])
    text = (
        b"info: information of postgresql: postgres, Shop Workshop {'level': 'info'} x%0Ainfo\\ninfo my_info"
    )
    shown = masker.mask(text)
    assert shown == text.replace(b"postgres,", MARK + b",").replace(b"Shop ", MARK + b" ").replace(
        b"info:", MARK + b":"
    ).replace(b"'info'", b"'" + MARK + b"'").replace(b"%0Ainfo", b"%0A" + MARK).replace(b"ninfo", b"n" + MARK)
    for cut in range(len(text)):
        assert streamed(masker, [text[:cut], text[cut:]]) == shown


def test_overlap_across_writes_is_one_mark():
    masker = Masker(["abcdef", "efghij"])
    assert streamed(masker, [b"<abcdef", b"ghij>"]) == b"<" + MARK + b">"


def test_repr_holds_no_value():
    masker = Masker(["hunter22"])
    assert "hunter" not in repr(masker) + repr(masker.stream())


def test_each_form_is_long_enough_to_be_no_accident():
    for value in ("abcd", "äöüß", "1 2 3", VALUE, PEM):
        assert all(len(form) >= MIN_CHARACTERS for form in forms(value))


def test_long_values_do_not_make_it_slow_or_deep():
    value = "".join(chr(33 + index * 7 % 90) for index in range(65_536))
    assert streamed(Masker([value]), [value[:30_000].encode(), value[30_000:].encode()]) == MARK


QUOTED = "a b'c\"d\\e$f`g!h\tn"


@pytest.mark.parametrize(
    "quoted", [shlex.quote(QUOTED)[1:-1], QUOTED.replace("'", "'\\''"), "a b'c\\\"d\\\\e\\$f\\`g!h\tn"]
)
def test_masks_shell_quoted_forms(quoted):
    assert Masker([QUOTED]).mask(f"<{quoted}>".encode()) == b"<" + MARK + b">"


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
@pytest.mark.parametrize(
    "value", [QUOTED, "plain-value", "two words", "line one\nline 'two'", "tab\tand $HOME"]
)
@pytest.mark.parametrize("way", ["printf %q", 'x() { printf %s "${1@Q}"; }; x', "set -x; :"])
def test_masks_what_bash_quotes(value, way):
    done = subprocess.run(["bash", "-c", f'{way} "$1"', "bash", value], capture_output=True, check=True)
    shown = Masker([value]).mask(done.stdout + done.stderr)
    assert MARK in shown
    assert len(shown.replace(MARK, b"")) <= len(b"+ set -x; :\n+ : $''\n")


@pytest.mark.parametrize("width", [64, 76])
@pytest.mark.parametrize("length", [48, 57, 58, 100, 300])
def test_masks_base64_that_is_wrapped(width, length):
    value = random.Random(length).randbytes(length).hex()[:length]
    whole = base64.b64encode(value.encode()).decode()
    lines = "\n".join(whole[start : start + width] for start in range(0, len(whole), width))
    left = Masker([value]).mask(lines.encode()).replace(MARK, b"").replace(b"\n", b"").rstrip(b"=")
    assert len(left) < 16


def test_a_new_value_is_masked_at_once():
    masker = Masker(["first-value"])
    stream = masker.stream()
    assert stream.feed(b"first-value second-value ") == MARK + b" second-value "
    masker.add("second-value")
    assert stream.feed(b"first-value second-value ") == MARK + b" " + MARK + b" "


def test_a_find_is_masked_at_once_though_a_longer_one_may_come():
    """The first line of a multi-line value must not wait for the second one."""
    stream = Masker(["line one\nline two"]).stream()
    assert stream.feed(b"line one\n") == MARK
    assert stream.release() == b"\n"
    assert stream.feed(b"line") == b""
    assert stream.feed(b" two.") + stream.finish() in {b".", MARK + b"."}


@pytest.mark.parametrize(
    ("alphabet", "sizes", "count"),
    crossed(
        ["a1", "abcdefghijklmno1", "aaaaaa1-\n"],
        [pytest.param((4, 12)), pytest.param((4, 6)), pytest.param((7, 40))],
        [40, 1],
    ),
)
def test_finds_all_that_a_search_for_each_one_finds(alphabet, sizes, count):
    chance = random.Random(f"{alphabet}{sizes}{count}")
    values = {"1" + "".join(chance.choices(alphabet, k=chance.randint(*sizes))) for _ in range(count)}
    masker = Masker(values)
    for _ in range(3):
        data = "".join(chance.choices(alphabet, k=300)).encode()
        covered = {at for one in masker.finder.find(data) for at in range(one.start, one.stop)}
        for value in values:
            at = data.find(value.encode())
            while at >= 0:
                assert covered.issuperset(range(at, at + len(value))), value
                at = data.find(value.encode(), at + 1)


def test_a_stream_can_be_cut_at_every_point():
    masker = Masker([VALUE, PEM, "hunter22"])
    data = f"a {VALUE} hunter22 b64 {base64.b64encode(VALUE.encode()).decode()} {PEM} end hunter2".encode()
    whole = masker.mask(data)
    for cut in range(len(data) + 1):
        assert streamed(masker, [data[:cut], data[cut:]]) == whole
    assert streamed(masker, [data[at : at + 1] for at in range(len(data))]) == whole


def test_whoever_releases_after_every_byte_still_sees_less_than_four_characters():
    stream = Masker(["hunter22"]).stream()
    shown = b""
    for byte in b"say hunter22 now":
        shown += stream.feed(bytes([byte])) + stream.release()
    assert shown + stream.finish() == b"say hun" + MARK + b" now"


@pytest.mark.parametrize("rounds", [10, pytest.param(40, marks=pytest.mark.torture)])
def test_few_values_are_found_also_where_their_parts_overlap(rounds):
    chance = random.Random(6)
    for _ in range(rounds):
        text = "".join(chance.choices("abcA1", k=chance.randint(300, 600)))
        starts = [chance.randrange(len(text) - 16) for _ in range(chance.randint(1, 6))]
        values = {text[start : start + chance.randint(13, 16)] for start in starts}
        few, many = Masker(values), Masker([*values, *(f"another value {one}" for one in range(100))])
        data = f"{text} {'nothing at all ' * 60} {text}".encode()
        masked = few.mask(data)
        assert masked == many.mask(data)
        assert not any(value.encode() in masked for value in values)


@pytest.mark.parametrize("count", [100, pytest.param(10_000, marks=pytest.mark.torture)])
def test_many_values_are_all_found(count):
    chance = random.Random(count)
    values = [f"prefix-{chance.randbytes(9).hex()}" for _ in range(count)]
    masker = Masker(values)
    data = "\n".join(chance.sample(values, count)).encode()
    assert masker.mask(data) == b"\n".join([MARK] * count)


def test_names_the_encoding_of_each_form():
    named = forms("pass word")
    assert named[b"pass word"] == "plain"
    assert named[b"pass%20word"] == "URL"
    assert named[b"cGFzcyB3b3Jk"] == "base64"
    assert named[b"7061737320776f7264"] == "hex"


def test_members_that_say_where_a_secret_is_are_not_secret():
    account = {
        "type": "service_account",
        "project_id": "shop-production",
        "private_key_id": "0b1c2d3e4f5a6b7c",
        "private_key": "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBg\n-----END PRIVATE KEY-----\n",
        "client_email": "deploy@shop-production.iam.gserviceaccount.com",
        "token_uri": "https://oauth2.googleapis.com/token",
        "universe_domain": "googleapis.com",
        "Host": "db.internal.example",
    }
    found = set(parts(json.dumps(account)))
    assert found == {account["private_key_id"], account["private_key"]}


def test_a_member_with_a_password_in_it_is_secret_whatever_it_is_called():
    value = json.dumps({"host": "postgres://app:correct-horse@db.internal/x"})
    assert set(parts(value)) == {"postgres://app:correct-horse@db.internal/x", "correct-horse"}


@pytest.mark.parametrize(
    ("value", "password"),
    [
        ("host=db user=app password=correct-horse dbname=x", "correct-horse"),
        ("password='it is\\\\ 9' host=db", "it is\\\\ 9"),
        ("Server=db;User Id=sa;Password=correct-horse;Encrypt=true", "correct-horse"),
        ('{"dsn": "host=db password=correct-horse"}', "correct-horse"),
        ('{"dsn": "password=correct-horse host=db"}', "correct-horse"),
        ('{"dsn": ["Server=db;Password=corr\\u00e9ct-\\\\horse"]}', "corr\u00e9ct-\\horse"),
        ('{"url": "amqp://app:it\\"s-\\\\me9@db"}', 'it"s-\\me9'),
        (json.dumps({"before": "x" * 5000, "url": "redis://:correct-horse@db"}), "correct-horse"),
        ('{"host": "redis://:correct-horse@db"}', "correct-horse"),
        ("Driver={ODBC};UID=sa;PWD={a;b c9}", "a;b c9"),
        ("jdbc:postgresql://db/x?user=app&password=p%40ss-w0rd", "p@ss-w0rd"),
        (
            "DefaultEndpointsProtocol=https;AccountName=x;AccountKey=Zk3J+x9q/Lw==;EndpointSuffix=y",
            "Zk3J+x9q/Lw==",
        ),
        ("Endpoint=sb://x/;SharedAccessKeyName=n;SharedAccessKey=Zk3J+x9q/Lw=", "Zk3J+x9q/Lw="),
    ],
)
def test_the_password_in_a_connection_string_is_a_part(value, password):
    assert password in parts(value)
    found = [part for part in parts(value) if "sa" in part.split("=") or "user" in part]
    assert found == []


@pytest.mark.parametrize(
    "value",
    ["password=", "pwd=abc", "no-password=here-at-all-x", "x" * 100, "password", "a=b&c=d", "password==="],
)
def test_text_without_a_password_has_no_parts(value):
    assert [part for part in parts(value) if part != "=="] == []


def test_texts_in_json_are_found_for_themselves():
    value = json.dumps({"user": "karl", "more": [{"key": "geheim"}, 1, None], "n": {"deep": "tief"}})
    assert sorted(json_texts(value)) == ["geheim", "karl", "tief"]
    assert json_texts("plain") == json_texts("[broken") == json_texts("[" * 100_000) == []


@pytest.mark.parametrize("seed", range(40))
def test_what_is_given_out_of_a_held_tail_is_masked(seed):
    """A tail that looks encoded is held; where nothing more comes it is given out, whole values in it too."""
    chance, value = random.Random(seed), "k3Jx9qLw2Zb7mNc4Rv8T"
    before = "".join(chance.choices("abcdefXYZ0123456789+/= \n", k=chance.randrange(300)))
    for written in (
        value,
        base64.b64encode(value.encode()).decode(),
        value.encode().hex(),
        json.dumps(value),
    ):
        data = (before + written).encode()
        cuts = sorted(chance.randrange(len(data) + 1) for _ in range(chance.randrange(4)))
        stream, shown = Masker([value]).stream(), b""
        for start, stop in itertools.pairwise([0, *cuts, len(data)]):
            shown += stream.feed(data[start:stop]) + stream.release()
        assert written.strip('"').encode() not in shown
        assert written.strip('"').encode() not in shown + stream.finish()


def test_what_may_begin_an_escape_is_held_as_the_pattern_for_it_says():
    """The pattern is what was meant, and three times as slow."""
    pattern = re.compile(rb"(?:[\\%&=\x1b^$'\"+][^\s]{0,11}|[ \t|]{0,40}\r?\n?[ \t|]{0,40})\Z")
    chance = random.Random(3)
    for _ in range(3000):
        tail = bytes(chance.choices(b"ab1 \t|\r\n\\%&=\x1b^$'\"+,", k=chance.randrange(60)))
        tail += chance.choice([b"", b"|" * chance.randrange(90), b" " * chance.randrange(60) + b"\r\n"])
        meant = pattern.search(tail, max(0, len(tail) - 82))
        assert partial_at_end(tail) == len(tail) - meant.start(), tail


@pytest.mark.parametrize(
    "piece",
    [
        "a\\\n",
        "a, ",
        "'\\\\a', ",
        "','",
        "'a', ",
        "'a' ",
        "'a',\n ",
        "a b ",
        "[1, ",
        "\\x61",
        "&#97;",
        "a|\n",
        "x",
    ],
)
@pytest.mark.parametrize("end", ["", "a longer end", "a longer end\na\nb\nc\nd\n", "longer 'a', 'b', 'c', "])
def test_the_end_of_a_piece_is_looked_at_in_bounded_time(piece, end):
    """Of a pattern that can match in two ways each of these would take longer than the machine lasts."""
    stream = Masker(["k3Jx9qLw2Zb7mNc4Rv8T"]).stream()
    text = f"{'long beginning' if end else ''}\n{piece * (1200 // len(piece))}{end}".encode()
    assert stream.feed(text) + stream.finish() == text


ENCODERS = {
    "percent": lambda value: quote(value, safe=""),
    "JSON": json.dumps,
    "JSON in JSON": lambda value: json.dumps(json.dumps(value)),
    "backslashes": lambda value: re.sub(r"(\W)", r"\\\1", value),
    "octal": lambda value: "".join(f"\\{byte:03o}" for byte in value.encode()),
}


@pytest.mark.parametrize(
    ("value", "encoder"),
    crossed(
        [
            "#kT9!vQ~2^mL@7$wX%4&rB*8(nJ)5-gH",
            "pa'ss \"w$rd\\u00e9 x9",
            "Zürich-straße-9\u043f\u0430\u0440\u043e\u043b\u044c",
        ],
        list(ENCODERS),
    ),
)
def test_an_encoded_value_is_masked_whole_wherever_the_stream_is_cut(encoder, value):
    masker = Masker([value])
    data = f"origin 'http://user:{ENCODERS[encoder](value)}@127.0.0.1/x.git'\n".encode()
    whole = masker.mask(data)
    assert MARK in whole
    pieces = [[data[:place], data[place:]] for place in range(1, len(data))]
    pieces += [[data[place : place + size] for place in range(0, len(data), size)] for size in (1, 7, 16)]
    for one in pieces:
        assert streamed(masker, one) == whole


def test_base64_behind_addresses_is_masked_whole_wherever_the_stream_is_cut():
    """So `curl --trace-ascii` writes a header, in lines of 64 characters."""
    masker = Masker(["Zk3Jx9qLw2Z7mNc4Rv8p"])
    data = b"0027: Basic dXNlci1vZi1hLXNlcnZlcjpaazNKeD\n0067: lxTHcyWjdtTmM0UnY4cA==\n007a: User\n"
    whole = masker.mask(data)
    assert whole == b"0027: Basic dXNlci1vZi1hLXNlcnZlcjp********==\n007a: User\n"
    for place in range(1, len(data)):
        assert streamed(masker, [data[:place], data[place:]]) == whole
