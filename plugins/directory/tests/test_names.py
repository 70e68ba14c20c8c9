"""The mapping of keys to names of files."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from properties import holds_for
from strongroom.errors import InvalidKeyError
from strongroom.keys import check_key
from strongroom_directory.names import forms_of, key_of


def _is_valid(key):
    try:
        check_key(key)
    except InvalidKeyError:
        return False
    return True


near_keys = st.text(alphabet="=_+.2eEf/ax\xe9\U0001f511", min_size=1, max_size=14)
long_keys = st.tuples(st.sampled_from(["a", "\xe9", ".", "_", "=_", "\U0001f511"]), st.integers(80, 256)).map(
    lambda parts: parts[0] * parts[1]
)
keys = (st.text(min_size=1, max_size=20) | near_keys | long_keys).filter(_is_valid)
suffixes = st.sampled_from(["", ".txt", "_", "=", "=_", "+"])


@pytest.mark.parametrize(
    ("key", "plain", "flat"),
    [
        ("database_password", ("database_password",), ("=_64atabase_password",)),
        ("app/key", ("app", "key"), ("app=_2fkey",)),
        (".netrc", ("=_2enetrc",), ("=_2e=_6eetrc",)),
        ("a/.rotation/b", ("a", "=_2erotation", "b"), ("a=_2f.rotation=_2fb",)),
        ("a=_b", ("a==_5fb",), ("=_61==_5fb",)),
        ("x" * 300, (f"{'x' * 252}=_+", "x" * 48), (f"=_78{'x' * 248}=_+", "x" * 51)),
    ],
)
def test_documented_names(key, plain, flat):
    """Names are those that the page says; other tools may rely on them."""
    assert forms_of(key, "") == (plain, flat)
    assert forms_of(key, ".txt")[0][-1].endswith(f"{plain[-1][-3:]}.txt")


@holds_for(keys, suffixes)
def test_round_trip(key, suffix):
    """Every key comes back from both of its names, which every file system holds."""
    plain, flat = forms_of(key, suffix)
    assert plain != flat
    for names in (plain, flat):
        assert key_of(names, suffix) == key
        for name in names:
            assert 0 < len(name.encode()) <= 255
            assert not name.startswith(".")
            assert "/" not in name


@holds_for(near_keys.filter(_is_valid), near_keys.filter(_is_valid), suffixes)
def test_injective(first, second, suffix):
    """Two keys never share a file."""
    shared = set(forms_of(first, suffix)) & set(forms_of(second, suffix))
    assert bool(shared) == (first == second)


@holds_for(st.lists(st.text(alphabet="=_+.2ef a", min_size=1, max_size=8), min_size=1, max_size=3), suffixes)
def test_every_name_is_of_one_key_or_of_none(names, suffix):
    """Whatever files others make, a key that is listed leads to just that file."""
    key = key_of(names, suffix)
    assert key is None or tuple(names) in forms_of(key, suffix)


@pytest.mark.parametrize(
    "names", [("=_zz/a",), ("=_ff",), ("=_+",), ("a=_+", ".b"), ("=_2e",), ("=_2F",), ("a", "=_61")]
)
def test_names_without_a_key(names):
    """Names that no key has are left alone."""
    assert key_of(names, "") is None


def test_another_ending_has_no_key():
    assert key_of(("a.json",), ".txt") is None
    assert key_of((".txt",), ".txt") is None
