"""The keyring library's own suite, and what strongroom adds."""

from __future__ import annotations

import pytest

pytest.importorskip("keyring", reason="the keyring library is not installed")

import keyring.core
import keyring.errors
from hypothesis import given, settings
from hypothesis import strategies as st
from keyring.testing.backend import BackendBasicTests
from strongroom import SecretProviderRegistry
from strongroom.errors import AuthenticationError, BackendUnavailableError
from strongroom.integrations.keyring import StrongroomKeyring, _name_of, _segment, key_for
from strongroom.keys import check_key

SPEC = {"version": 1, "pipelines": {"app": {"provider": {"type": "memory"}}}}


@pytest.fixture
def backend():
    found = StrongroomKeyring()
    found.registry = SecretProviderRegistry(SPEC)
    return found


class TestKeyringsOwnSuite(BackendBasicTests):
    def init_keyring(self):
        found = StrongroomKeyring()
        found.registry = SecretProviderRegistry(SPEC)
        return found


NAMES = st.text(st.characters())


@settings(derandomize=True, deadline=None)
@given(NAMES, NAMES)
def test_every_pair_of_names_has_a_valid_key(service, username):
    check_key(key_for(service, username))


@settings(derandomize=True, deadline=None)
@given(st.one_of(NAMES, st.sampled_from([".", "..", ".rotation", "%", "%2E", "%sha256-", "a/b", ""])))
def test_a_segment_gives_its_name_back(name):
    if len(_segment(name)) <= 150 or "%sha256-" not in _segment(name):
        assert _name_of(_segment(name)) == name


def test_long_names_are_told_apart():
    assert key_for("s", "a" * 5000 + "1") != key_for("s", "a" * 5000 + "2")
    check_key(key_for("ß" * 5000, "ß" * 5000))


def test_the_key_is_the_documented_one():
    found = key_for("https://packages.example.com/", "__token__")
    assert found == "keyring/https:%2F%2Fpackages.example.com%2F/__token__"


def test_without_a_user_name_the_services_first_one_answers(backend):
    backend.set_password("https://packages.example/index/", "bob", "2")
    backend.set_password("https://packages.example/index/", "alice", "1")
    found = backend.get_credential("https://packages.example/index/", None)
    assert (found.username, found.password) == ("alice", "1")


@pytest.mark.parametrize("segment", ["%FF", "%", "a b", "%sha256-00", "%2", "%ED%A0%80x"])
def test_a_key_of_another_program_is_passed_over(backend, segment):
    """Whatever its name is: the service has a user all the same."""
    backend._provider().set_secret(f"keyring/s/{segment}", "theirs")
    backend.set_password("s", "zoe", "ours")
    assert backend.get_credential("s", "zoe").password == "ours"
    found = backend.get_credential("s", None)
    assert (found.username, found.password) in {("zoe", "ours"), ("", "theirs"), ("\ud800x", "theirs")}


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (AuthenticationError("who?"), keyring.errors.KeyringLocked),
        (BackendUnavailableError("gone"), keyring.errors.KeyringError),
    ],
)
def test_a_failure_is_never_an_absent_password(backend, error, expected, failing):
    backend.registry = failing(error)
    with pytest.raises(expected):
        backend.get_password("s", "u")
    with pytest.raises(expected):
        backend.get_credential("s", None)


def test_it_is_chosen_only_when_asked_for(monkeypatch):
    from keyring.backends.chainer import ChainerBackend

    assert StrongroomKeyring.viable
    assert StrongroomKeyring.priority < 0
    monkeypatch.delenv("PYTHON_KEYRING_BACKEND", raising=False)
    assert not isinstance(keyring.core._detect_backend(lambda _: True), StrongroomKeyring)
    assert not any(isinstance(member, StrongroomKeyring) for member in ChainerBackend.backends)
