"""The digests are those of `hashlib` and `hmac`, with and without OpenSSL."""

import hashlib
import hmac
import runpy
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strongroom.runtime import digests

OWN = ("_blake2", "_operator", "_sha2", "_sha256")


@pytest.fixture(scope="module")
def without_openssl():
    """The names of the module, as a process gets them that has not loaded `hashlib`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delitem(sys.modules, "hashlib")
        return runpy.run_path(digests.__file__)


def test_a_process_that_has_not_loaded_hashlib_takes_pythons_own(without_openssl):
    assert {without_openssl[name].__module__ for name in ("blake2b", "sha256")} <= set(OWN)
    assert without_openssl["sha256"] is not hashlib.sha256


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_they_give_the_same_bytes(without_openssl, key, data):
    for names in (without_openssl, vars(digests)):
        assert names["sha256"](data).hexdigest() == hashlib.sha256(data).hexdigest()
        assert names["hmac_sha256"](key, data) == hmac.digest(key, data, "sha256")
        keyed = names["blake2b"](data, key=key[:64], digest_size=8)
        assert keyed.digest() == hashlib.blake2b(data, key=key[:64], digest_size=8).digest()
        assert names["compare_digest"](key, data) == (key == data)


def test_states_are_copied_and_not_changed(without_openssl):
    for names in (without_openssl, vars(digests)):
        inner, outer = names["hmac_states"](b"key")
        for data in (b"one", b"two"):
            first, second = inner.copy(), outer.copy()
            first.update(data)
            second.update(first.digest())
            assert second.digest() == hmac.digest(b"key", data, "sha256")


def test_a_python_that_was_built_without_them_takes_those_of_hashlib(monkeypatch):
    for name in ("_sha2", "_sha256"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "hashlib")
    names = runpy.run_path(digests.__file__)
    assert names["sha256"] is sys.modules["hashlib"].sha256
    assert names["blake2b"] is sys.modules["hashlib"].blake2b
