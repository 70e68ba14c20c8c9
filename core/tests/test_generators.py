"""Generated passwords."""

from __future__ import annotations

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strongroom import generate_password
from strongroom.errors import ConfigurationError
from strongroom.generators import CHARACTER_CLASSES


def test_the_default():
    """32 letters and digits, never the same."""
    made = {generate_password() for _ in range(50)}
    assert len(made) == 50
    assert all(len(password) == 32 for password in made)
    assert set("".join(made)) <= set(string.ascii_letters + string.digits)


@settings(derandomize=True, max_examples=50)
@given(st.integers(4, 200), st.sets(st.sampled_from(sorted(CHARACTER_CLASSES))))
def test_required_classes_are_there(length, require):
    """Of each required class there is a character, at any length that has room for it."""
    password = generate_password(length, require=require)
    assert len(password) == length
    for name in require:
        assert set(CHARACTER_CLASSES[name]) & set(password)


def test_only_the_alphabet():
    """Nothing is added to an alphabet that has what is required."""
    password = generate_password(200, alphabet="ab1", require=["lower", "digit"])
    assert set(password) == {"a", "b", "1"}


def test_a_class_that_the_alphabet_lacks_is_added():
    """Asking for symbols brings symbols."""
    password = generate_password(20, alphabet="abc", require=["symbol"])
    assert set(password) & set(CHARACTER_CLASSES["symbol"])
    assert set(password) <= set("abc" + CHARACTER_CLASSES["symbol"])


def test_a_class_of_ones_own():
    """A text of characters is a class."""
    assert set("€£") & set(generate_password(8, require=["€£"]))


def test_demands_that_chance_alone_would_not_meet():
    """The narrowest demand is met: each character of its own class."""
    classes = [chr(code) for code in range(0x100, 0x140)]
    password = generate_password(64, alphabet="".join(classes), require=classes)
    assert sorted(password) == classes


def test_doubled_characters_weigh_no_more():
    """An alphabet is a set: doubling a character does not make it likelier."""
    password = generate_password(4000, alphabet="a" * 1000 + "b")
    assert 1700 < password.count("a") < 2300


@pytest.mark.parametrize(
    "arguments",
    [
        {"length": 0},
        {"length": -1},
        {"length": 2, "require": ["lower", "upper", "digit"]},
        {"alphabet": ""},
        {"require": [""]},
    ],
)
def test_what_cannot_be(arguments):
    """Demands that no password meets are a `ConfigurationError`."""
    with pytest.raises(ConfigurationError, match="generate_password"):
        generate_password(**arguments)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"length": True}, "length must be int, got bool"),
        ({"length": "12"}, "length must be int, got str"),
        ({"length": 12.0}, "length must be int, got float"),
        ({"require": "lower"}, "require is a list of classes"),
    ],
)
def test_what_is_of_another_type_makes_no_weak_password(arguments, said):
    """A length of True is not 1, and "lower" does not stand for its five letters."""
    with pytest.raises(TypeError, match=said):
        generate_password(**arguments)


def test_too_short_a_password_is_told_as_such():
    with pytest.raises(ConfigurationError, match="at least 1 character, not 0"):
        generate_password(0)
