from __future__ import annotations

import base64
import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom.masking import MARK, MIN_CHARACTERS, Masker, forms

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
@settings(max_examples=400, derandomize=True, deadline=None)
def test_how_a_stream_is_cut_changes_nothing(values, chosen, cuts):
    """The pieces are at the mercy of the child's buffering."""
    data = b"".join(
        part if isinstance(part, bytes) else values[part % len(values)].encode() for part in chosen
    )
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    pieces = [data[start:end] for start, end in zip(places, places[1:], strict=False)]
    masker = Masker(values)
    assert streamed(masker, pieces) == masker.mask(data)


@given(
    values=st.lists(st.text("abc12", min_size=4, max_size=9), min_size=1, max_size=5),
    data=st.text("abc12", max_size=60),
)
@settings(max_examples=400, derandomize=True, deadline=None)
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
    masker = Masker(["abcdef", "abcdefghij"])
    assert streamed(masker, [b"abcdef", b"ghij."]) == MARK + b"."
    assert streamed(masker, [b"abcdef", b"gh."]) == MARK + b"gh."


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
