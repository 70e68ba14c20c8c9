"""The rules for keys, prefixes and values."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strongroom import SecretEvent, SecretHook, SecretProviderRegistry
from strongroom.errors import InvalidKeyError, ValidationError
from strongroom.keys import check_key, check_prefix, check_value, is_reserved
from strongroom.testing.conformance.samples import HOSTILE_KEYS, INVALID_KEYS, INVALID_PREFIXES, NO_TEXTS


def _obeys(key: str) -> bool:
    """Say the rules over again, in the words of the contract."""
    segments_fine = all(segment not in {"", ".", ".."} for segment in key.split("/"))
    bad = {"Cc", "Cs"}
    characters_fine = all(
        unicodedata.category(character) not in bad and character not in "\u2028\u2029" for character in key
    )
    return 1 <= len(key) <= 512 and segments_fine and characters_fine


@pytest.mark.parametrize("key", HOSTILE_KEYS.values(), ids=HOSTILE_KEYS)
def test_valid_keys_are_returned(key):
    """A valid key comes back as it is."""
    assert check_key(key) == key


@pytest.mark.parametrize("key", INVALID_KEYS.values(), ids=INVALID_KEYS)
def test_invalid_keys_are_refused(key):
    """Every breach is an `InvalidKeyError` with the key, in one printable line."""
    with pytest.raises(InvalidKeyError) as caught:
        check_key(key)
    assert caught.value.key == key
    assert str(caught.value).isprintable()


@settings(derandomize=True, max_examples=500)
@given(st.text(st.characters() | st.sampled_from("/.\x00\x85\u2028 a"), max_size=12))
def test_the_rules_are_those_of_the_contract(key):
    """For any text at all, the check and the contract agree."""
    try:
        check_key(key)
    except InvalidKeyError:
        assert not _obeys(key)
    else:
        assert _obeys(key)


def test_512_characters_and_no_more():
    """The length counts characters, not bytes."""
    assert check_key("🔑" * 512)
    with pytest.raises(InvalidKeyError, match="512"):
        check_key("a" * 513)


@pytest.mark.parametrize("key", [None, 1, b"a", ("a",)])
def test_no_text_is_no_key(key):
    """A key that is not text is an `InvalidKeyError`, and no value of it is shown."""
    with pytest.raises(InvalidKeyError, match="expected text"):
        check_key(key)


@pytest.mark.parametrize("key", [[], {}, {"a"}, ["a/b"], ("a", [])], ids=ascii)
@pytest.mark.parametrize("watched", [False, True])
def test_what_cannot_even_be_looked_up_is_no_key(key, watched):
    """A list is refused as every other thing that is not text, by all that take a key, and hooks see it."""
    seen: list[SecretEvent] = []
    hook = SecretHook()
    hook.after = seen.append
    with SecretProviderRegistry(
        {"version": 1, "pipelines": {"app": {"provider": {"type": "memory"}}}}
    ) as registry:
        if watched:
            registry.add_hook(hook)
        calls = (
            registry.get_secret,
            registry.delete_secret,
            registry.describe_secret,
            registry.list_secrets,
            registry.list_versions,
            lambda key: registry.set_secret(key, "value"),
            registry.pipeline("app").get_secret,
        )
        for call in (*calls, lambda key: registry.get_secrets(["good", key])):
            with pytest.raises(InvalidKeyError, match=f"expected text, got a {type(key).__name__}") as caught:
                call(key)
            assert caught.value.__context__ is None or caught.value.__suppress_context__
    expected = (f"a {type(key).__name__}", "error", "InvalidKeyError")
    assert [(event.key, event.outcome, event.error_type) for event in seen] == [expected] * (
        len(calls) if watched else 0
    )


def test_valid_prefixes_are_returned():
    """A prefix may be empty, end behind a slash, or within a segment."""
    for end in range(len("app/db.x/.hidden") + 1):
        assert check_prefix("app/db.x/.hidden"[:end]) == "app/db.x/.hidden"[:end]


@pytest.mark.parametrize("prefix", [*INVALID_PREFIXES.values(), None, b"a", 1], ids=ascii)
def test_invalid_prefixes_are_refused(prefix):
    """What no key can hold, no prefix holds; the message says why, as for a key."""
    with pytest.raises(InvalidKeyError, match=r"invalid prefix.*: (expected text|longer than|a control)"):
        check_prefix(prefix)


@pytest.mark.parametrize(
    ("key", "reserved"),
    [
        (".rotation", True),
        (".rotation/a", True),
        ("a/.rotation/b", True),
        ("a/.rotation", True),
        ("a.rotation", False),
        (".rotations/a", False),
        ("a/.rotation-b", False),
        (".ROTATION", False),
        ("rotation", False),
    ],
)
def test_reserved_keys(key, reserved):
    """The whole segment is reserved, at whatever depth, and nothing that looks like it."""
    assert is_reserved(key) is reserved


@settings(derandomize=True)
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_is_a_value(value):
    """Every Unicode text is a value, the empty one too."""
    assert check_value(value, "key") is value


@pytest.mark.parametrize("value", NO_TEXTS.values(), ids=NO_TEXTS)
def test_no_text_is_no_value(value):
    """What is not text is a `TypeError` that names the type and shows nothing of the value."""
    with pytest.raises(TypeError, match=type(value).__name__) as caught:
        check_value(value, "key")
    assert "text'" not in str(caught.value)


def test_a_lone_surrogate_is_no_value():
    """It is a `ValidationError` with the key, and without the value."""
    with pytest.raises(ValidationError) as caught:
        check_value("hunter2\ud800", "key")
    assert caught.value.key == "key"
    assert "hunter2" not in repr(vars(caught.value)) + str(caught.value)


def test_each_character_is_allowed_or_not_as_the_rule_says():
    characters = [*map(chr, range(0x2100)), "\ud7ff", "\ud800", "\udfff", "\ue000", "\U0010ffff"]
    taken = [one for one in characters if not _is_refused(f"a{one}b")]
    assert taken == [one for one in characters if _obeys(f"a{one}b")]


def _is_refused(key):
    try:
        check_key(key)
    except InvalidKeyError:
        return True
    return False
