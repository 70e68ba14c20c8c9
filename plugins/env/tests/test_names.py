"""The mapping of keys to names of variables."""

from __future__ import annotations

import re

import pytest
from hypothesis import strategies as st
from properties import holds_for
from strongroom.errors import InvalidKeyError
from strongroom.keys import check_key
from strongroom_env.names import key_of, name_of


def _is_valid(key: str) -> bool:
    try:
        check_key(key)
    except InvalidKeyError:
        return False
    return True


any_keys = st.text(min_size=1, max_size=20)
near_keys = st.text(alphabet="_0xX2f5F/a", min_size=1, max_size=14)
keys = (any_keys | near_keys).filter(_is_valid)


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("database_password", "DATABASE_PASSWORD"),
        ("a1_", "A1_"),
        ("database/password", "DATABASE_0X2F_PASSWORD"),
        ("Token", "_0X54_OKEN"),
        ("ключ", "_0X43A__0X43B__0X44E__0X447_"),
        ("🔑", "_0X1F511_"),
        ("a_0xb", "A_0X5F_0XB"),
        ("_0x2f_", "_0X5F_0X2F_"),
        ("a/0x41_", "A_0X2F_0X41_"),
        ("ß", "_0XDF_"),
        ("\u017f", "_0X17F_"),
    ],
)
def test_documented_names(key, name):
    """The names are those that the README says; other tools may rely on them."""
    assert name_of(key) == name
    assert key_of(name) == key


@holds_for(keys)
def test_round_trip(key):
    """Every key comes back from its name, which no shell or tool would refuse."""
    assert key_of(name_of(key)) == key
    assert re.fullmatch("[A-Z0-9_]+", name_of(key))


@holds_for(near_keys, near_keys)
def test_injective(first, second):
    """Two keys never share a name."""
    assert (name_of(first) == name_of(second)) == (first == second)


@holds_for(st.from_regex("[a-z0-9_]{1,30}", fullmatch=True).filter(lambda key: "_0x" not in key))
def test_identity_up_to_case(key):
    """Plain keys are just upper-cased."""
    assert name_of(key) == key.upper()


@holds_for(st.text(alphabet="_0X2F5EDa/", max_size=14))
def test_every_name_is_of_one_key_or_of_none(name):
    """Whatever variables others make, a key that is listed leads to just that variable."""
    key = key_of(name)
    assert key is None or name_of(key) == name


@pytest.mark.parametrize(
    "name", ["", "lower", "A_0X", "A_0XZZ_", "_0X2f_", "_0X61_", "_0X110000_", "_0X0_", "_0X02F_", "_0X2E_"]
)
def test_names_without_a_key(name):
    """Names that no key has are left alone: wrong case, broken or needless escapes, invalid keys."""
    assert key_of(name) is None
