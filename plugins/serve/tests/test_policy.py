"""Patterns: against one that is written as they are explained, and at a cost that does not grow with them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strongroom_serve import policy
from strongroom_serve.policy import KeyRules, Patterns


def by_the_book(pattern, key):
    """Translate the sentence of the documentation into one regular expression."""
    parts = [
        "[^/]+(/[^/]+)*" if one == "**" else "[^/]*".join(map(re.escape, one.split("*")))
        for one in pattern.split("/")
    ]
    return re.fullmatch("/".join(parts), key, re.DOTALL) is not None


SEGMENTS = st.sampled_from(["a", "b", "ab", "aab", "ba", "A", "*", "a*", "*b", "a*b", "*a*b*", "**"])
PATTERNS = st.lists(SEGMENTS, min_size=1, max_size=4).map("/".join)
KEYS = st.lists(st.sampled_from(["a", "b", "ab", "aab", "abab", "A", "ba"]), min_size=1, max_size=5).map(
    "/".join
)


@settings(max_examples=150)
@given(st.lists(PATTERNS, min_size=1, max_size=6), KEYS)
def test_a_set_of_patterns_matches_what_one_of_them_does(patterns, key):
    assert Patterns(patterns).match(key) == any(by_the_book(one, key) for one in patterns)


@pytest.mark.parametrize(
    ("pattern", "key", "expected"),
    [
        ("app/**", "app/x", True),
        ("app/**", "app/x/y/z", True),
        ("app/**", "app", False),
        ("app/**", "application/x", False),
        ("app/*", "app/x", True),
        ("app/*", "app/x/y", False),
        ("app/*-key", "app/-key", True),
        ("app/*-key", "app/api-key", True),
        ("**", "a/b", True),
        ("**/password", "a/b/password", True),
        ("**/password", "password", False),
        ("App/*", "app/x", False),
        ("a*a", "a", False),
        ("a*a", "aa", True),
    ],
)
def test_what_a_pattern_stands_for(pattern, key, expected):
    assert Patterns([pattern]).match(key) is expected
    assert by_the_book(pattern, key) is expected


def test_nothing_is_allowed_by_default_and_deny_wins():
    assert not KeyRules([], []).permits("a")
    assert not KeyRules(["**"], ["jobs/root"]).permits("jobs/root")
    assert KeyRules(["**"], ["jobs/root"]).permits("jobs/other")
    assert not KeyRules(["jobs/root"], ["**"]).permits("jobs/root")


@pytest.mark.parametrize(
    "shape", ["team-{}/**", "team-{}/*/password", "*-{}/x", "{}*/x", "*{}*/x", "**/{}"], ids=str
)
def test_a_thousand_rules_are_looked_at_by_their_text_and_not_one_by_one(shape, monkeypatch):
    """Work is counted: how many segments with `*` are compared for one key, whatever the number of rules."""
    compared = []
    real = policy._in_order
    monkeypatch.setattr(policy, "_in_order", lambda *words: compared.append(words) or real(*words))
    rules = Patterns(shape.format(number) for number in range(1000))
    key = shape.replace("**", "x").replace("*", "y").format(999)
    assert rules.match(key)
    del compared[:]
    rules.match("none/of/them")
    # `*{}*` begins and ends with a star: what is between them is looked for, each in C.
    assert len(compared) <= (1000 if shape.startswith("*{}*") else 0)


def test_many_stars_take_no_longer_than_their_number():
    """A pattern of stars is no regular expression: no text makes it go back."""
    pattern, key = "*a" * 100 + "b", "a" * 400
    assert not Patterns([pattern]).match(key)
    assert Patterns([pattern]).match(key + "b")


@settings(max_examples=50)
@given(st.lists(PATTERNS, max_size=4), st.lists(PATTERNS, max_size=2), st.lists(KEYS, max_size=8))
def test_many_keys_are_permitted_as_one_is(allow, deny, keys):
    rules = KeyRules(allow, deny)
    assert list(rules.permitted(keys)) == [key for key in keys if rules.permits(key)]
