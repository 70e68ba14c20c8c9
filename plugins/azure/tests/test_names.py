from __future__ import annotations

import re

import pytest
from hypothesis import strategies as st
from properties import holds_for
from strongroom.errors import InvalidKeyError
from strongroom.keys import check_key
from strongroom_azure.names import MOST_KEY_TAGS, belongs, key_in, key_of, name_of, tags_for, units

ALLOWED = re.compile(r"[a-z0-9-]{1,127}")


def _valid(key):
    try:
        check_key(key)
    except InvalidKeyError:
        return False
    return True


# Close to the marker, so that what could collide does come up.
tricky = st.text(st.sampled_from("aA-0x/2fhX.é😀 "), min_size=1, max_size=24).filter(_valid)
keys = tricky | st.text(min_size=1, max_size=512).filter(_valid)


@holds_for(keys)
def test_every_name_is_allowed_and_tells_its_key(key):
    name = name_of(key)
    assert ALLOWED.fullmatch(name.text)
    tags = tags_for(key, name)
    assert key_of(name.text, tags) == key
    assert key_of(name.text.upper(), tags) == key
    assert belongs(key, name, tags)
    assert key_in(tags) == (None if name.text == key else key)
    if not name.hashed:
        assert key_of(name.text, None) == key


@holds_for(tricky, tricky)
def test_no_two_keys_share_a_name(one, other):
    assert (name_of(one) == name_of(other)) == (one == other)


@holds_for(st.from_regex(ALLOWED, fullmatch=True))
def test_a_name_without_the_marker_is_its_own_key(name):
    if "-0x" not in name:
        assert name_of(name).text == name
        assert tags_for(name, name_of(name)) == {}
        assert key_of(name, {}) == name


@holds_for(st.from_regex(ALLOWED, fullmatch=True))
def test_a_listed_name_is_left_out_or_leads_back_to_itself(name):
    key = key_of(name, {})
    assert key is None or name_of(key).text == name


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("database-password", "database-password"),
        ("db/password", "db-0x2fpassword"),
        ("DbPassword", "-0x44b-0x50assword"),
        ("a-0xb", "a-0-0x78b"),
        ("a-0x2fb", "a-0-0x782fb"),
        ("a_b", "a-0x5fb"),
        ("é", "-0xc3-0xa9"),
    ],
)
def test_names_are_those_of_the_documented_examples(key, name):
    assert name_of(key).text == name


@pytest.mark.parametrize("name", ["a-0x", "-0x61", "-0xzz", "-0xff", "a-0x2f-0x2fb", "-0x2e-0x2e", "-0x0a"])
def test_names_that_no_key_has_are_no_keys(name):
    assert key_of(name, {}) is None


def test_a_name_of_another_tool_is_read_in_small_letters():
    assert key_of("DbPassword", None) == "dbpassword"


def test_a_long_key_is_hashed_and_compared():
    key = "k" * 128
    name = name_of(key)
    assert name.hashed
    assert re.fullmatch("-0xh[0-9a-f]{64}", name.text)
    assert not belongs(key, name, None)
    assert not belongs(key, name, {"strongroom.key": "other"})
    assert key_of(name.text, {"strongroom.key": key}) == key
    assert key_of(name.text, {}) is None
    assert key_of(name.text, {"strongroom.key": "other"}) is None
    assert not name_of("k" * 127).hashed


def test_an_escaped_name_without_its_tag_is_the_keys_and_with_another_is_not():
    name = name_of("a/b")
    assert belongs("a/b", name, None)
    assert not belongs("a/b", name, {"strongroom.key": "other"})
    assert key_of(name.text, {"strongroom.key": "other"}) is None


@pytest.mark.parametrize("key", ["k" * 512, "🔑" * 512, "a" + "🔑" * 511, "ключ" * 128])
def test_the_longest_keys_fit_into_their_tags(key):
    tags = tags_for(key, name_of(key))
    assert len(tags) <= MOST_KEY_TAGS
    assert all(units(part) <= 256 for part in tags.values())
    assert key_in(tags) == key
