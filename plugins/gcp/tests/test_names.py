from __future__ import annotations

import re

import pytest
from hypothesis import strategies as st
from properties import holds_for
from strongroom.errors import InvalidKeyError
from strongroom.keys import check_key
from strongroom_gcp.names import ANNOTATION, key_of, name_of

ALLOWED = re.compile(r"[A-Za-z0-9_-]{1,255}")


def _valid(key):
    try:
        check_key(key)
    except InvalidKeyError:
        return False
    return True


# Close to the marker, so that what could collide does come up.
tricky = st.text(st.sampled_from("a-_/2f5h.é😀 "), min_size=1, max_size=24).filter(_valid)
keys = tricky | st.text(min_size=1, max_size=512).filter(_valid)


@holds_for(keys)
def test_every_name_is_allowed_and_tells_its_key(key):
    name = name_of(key)
    assert ALLOWED.fullmatch(name.text)
    assert key_of(name.text, {ANNOTATION: key} if name.hashed else {}) == key


@holds_for(tricky, tricky)
def test_no_two_keys_share_a_name(one, other):
    assert (name_of(one) == name_of(other)) == (one == other)


@holds_for(st.from_regex(ALLOWED, fullmatch=True))
def test_a_name_without_the_marker_is_its_own_key(name):
    if "-_" not in name:
        assert name_of(name) == (name, False)
        assert key_of(name, {}) == name


@holds_for(st.from_regex(ALLOWED, fullmatch=True))
def test_a_listed_name_is_left_out_or_leads_back_to_itself(name):
    key = key_of(name, {})
    assert key is None or name_of(key).text == name


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("database-password", "database-password"),
        ("db/password", "db-_2fpassword"),
        ("a-_b", "a--_5fb"),
        ("a-_2fb", "a--_5f2fb"),
        ("a.b", "a-_2eb"),
        ("é", "-_c3-_a9"),
        ("__--__", "__---_5f_"),
    ],
)
def test_names_are_those_of_the_documented_examples(key, name):
    assert name_of(key).text == name


@pytest.mark.parametrize("name", ["a-_2Fb", "-_61", "-_", "-_zz", "-_ff", "a-_2f-_2fb", "-_2e-_2e", "-_0a"])
def test_names_that_no_key_has_are_no_keys(name):
    assert key_of(name, {}) is None


def test_a_long_key_is_hashed_and_compared():
    key = "k" * 256
    name = name_of(key)
    assert name.hashed
    assert re.fullmatch("-_h[0-9a-f]{64}", name.text)
    assert key_of(name.text, {ANNOTATION: key}) == key
    assert key_of(name.text, {}) is None
    assert key_of(name.text, {ANNOTATION: "other"}) is None
    assert not name_of("k" * 255).hashed
