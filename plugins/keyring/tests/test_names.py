from __future__ import annotations

from hypothesis import strategies as st
from properties import holds_for
from strongroom.errors import InvalidKeyError
from strongroom.keys import check_key
from strongroom_keyring.names import INDEX_NAME, MARKER, key_of, name_of, password_of, value_of

TEXT = st.text(st.characters(exclude_categories=["Cs"]))


def is_key(text):
    try:
        check_key(text)
    except InvalidKeyError:
        return False
    return True


KEYS = st.one_of(TEXT, TEXT.map(lambda text: MARKER + text), TEXT.map(lambda text: f"{MARKER}key:{text}"))
VALUES = st.one_of(TEXT, TEXT.map(lambda text: f"{MARKER}base64:{text}"), TEXT.map(lambda text: text + "\0"))


@holds_for(KEYS.filter(is_key), st.booleans())
def test_a_name_gives_its_key_back(key, folds_case):
    assert key_of(name_of(key, folds_case=folds_case)) == key


@holds_for(KEYS.filter(is_key), KEYS.filter(is_key))
def test_different_keys_have_names_that_differ_without_case(one, other):
    if one != other:
        assert name_of(one, folds_case=True).upper() != name_of(other, folds_case=True).upper()


@holds_for(TEXT.filter(is_key).filter(lambda key: not key.startswith(MARKER)))
def test_a_key_without_the_marker_is_its_own_name(key):
    assert name_of(key) == key


@holds_for(VALUES)
def test_a_password_gives_its_value_back_and_holds_no_nul(value):
    assert value_of(password_of(value)) == value
    assert "\0" not in password_of(value)


def test_what_another_tool_wrote_is_read_as_it_is():
    for password in ("", "plain", "line\n", f"{MARKER}base64:not base64!", f"{MARKER}base64:YQ=="):
        assert value_of(password) == password


def test_the_index_and_impossible_names_are_no_keys():
    for name in (INDEX_NAME, f"{MARKER}key:!", f"{MARKER}other", "", "a//b", "a\nb"):
        assert key_of(name) is None
