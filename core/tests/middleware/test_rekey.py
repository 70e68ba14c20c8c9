"""Values brought from older keys to the first one, all of a pipeline's."""

from __future__ import annotations

import pytest
from strongroom import AESGCMEncryption, EncryptionMiddleware, KeyRing, PrefixMiddleware, generate_key
from strongroom.errors import ConflictError, DecryptionError, UnsupportedOperationError
from strongroom_memory import MemorySecretProvider

KEYS = ["a", "b/c", "b/d"]


@pytest.fixture
def ciphers():
    return [AESGCMEncryption(generate_key()) for _ in range(2)]


def stored(inner, cipher):
    provider = EncryptionMiddleware(inner, cipher)
    for key in KEYS:
        provider.set_secret(key, f"value of {key}")
    return provider


def good(inner, cipher):
    provider = EncryptionMiddleware(inner, cipher)
    return [provider.get_secret(key) for key in KEYS] == [f"value of {key}" for key in KEYS]


@pytest.mark.parametrize("versioned", [True, False])
def test_what_is_under_an_older_key_is_written_anew(ciphers, versioned, plain):
    old, new = ciphers
    inner = MemorySecretProvider() if versioned else plain()
    stored(inner, old)
    ring = EncryptionMiddleware(inner, KeyRing(new, old))
    assert ring.rekey("b/") == 2
    with pytest.raises(DecryptionError):
        good(inner, new)
    assert ring.rekey() == 1
    assert good(inner, new)
    assert ring.rekey() == 0


class Busy(MemorySecretProvider):
    """Others write just before each conditional write, as often as they are told."""

    def __init__(self):
        super().__init__()
        self.writes = []

    def set_secret_if(self, key, value, expected_version):
        if self.writes:
            self.writes.pop(0)()
        return super().set_secret_if(key, value, expected_version)


@pytest.mark.parametrize("times", [1, 3])
def test_what_another_program_writes_meanwhile_under_the_older_key_is_written_anew_too(ciphers, times):
    """It still has that key: otherwise its value would be lost with the key."""
    old, new = ciphers
    inner = Busy()
    other = stored(inner, old)
    inner.writes = [lambda: other.set_secret("a", "newer")] * times
    assert EncryptionMiddleware(inner, KeyRing(new, old)).rekey() == 3
    renewed = EncryptionMiddleware(inner, new)
    assert [renewed.get_secret(key) for key in KEYS] == ["newer", *(f"value of {key}" for key in KEYS[1:])]


@pytest.mark.parametrize("write", ["under the new key", "a deletion"])
def test_what_is_already_under_the_new_key_or_gone_is_left_alone(ciphers, write):
    old, new = ciphers
    inner = Busy()
    stored(inner, old)
    other = EncryptionMiddleware(inner, new)
    by_others = {
        "under the new key": lambda: other.set_secret("a", "newer"),
        "a deletion": lambda: inner.delete_secret("a"),
    }
    inner.writes = [by_others[write]]
    assert EncryptionMiddleware(inner, KeyRing(new, old)).rekey() == 2
    assert other.get_secret("b/c") == "value of b/c"


def test_a_value_that_is_written_again_and_again_is_told_as_a_conflict(ciphers):
    old, new = ciphers
    inner = Busy()
    other = stored(inner, old)
    inner.writes = [lambda: other.set_secret("a", "newer")] * 100
    with pytest.raises(ConflictError):
        EncryptionMiddleware(inner, KeyRing(new, old)).rekey()
    assert other.get_secret("a") == "newer"


def test_a_server_that_tells_no_versions_is_brought_to_the_new_key_too(ciphers):
    """As version 1 of Vault's KV, whose provider could: else the old key would be thrown away too early."""

    class Unversioned(MemorySecretProvider):
        def describe_secret(self, key):
            raise UnsupportedOperationError("version 1 has none")

        def set_secret_if(self, key, value, expected_version):
            raise UnsupportedOperationError("version 1 has none")

    old, new = ciphers
    inner = Unversioned()
    stored(inner, old)
    assert EncryptionMiddleware(inner, KeyRing(new, old)).rekey() == 3
    assert good(inner, new)


def test_values_in_clear_are_encrypted_where_they_may_be_there(ciphers):
    inner = MemorySecretProvider(secrets={key: f"value of {key}" for key in KEYS})
    assert EncryptionMiddleware(inner, ciphers[0], migrate=True).rekey() == 3
    assert good(inner, ciphers[0])


def test_a_value_in_clear_is_an_error_elsewhere(ciphers):
    inner = MemorySecretProvider(secrets={"a": "in clear"})
    with pytest.raises(DecryptionError):
        EncryptionMiddleware(inner, ciphers[0]).rekey()
    assert inner.get_secret("a") == "in clear"


def test_a_key_that_is_lost_is_told_and_the_others_are_kept(ciphers):
    old, new = ciphers
    inner = MemorySecretProvider()
    stored(inner, old)
    with pytest.raises(DecryptionError) as caught:
        EncryptionMiddleware(inner, new).rekey()
    assert caught.value.key == "a"
    assert good(inner, old)


def test_names_of_a_prefix_inside_are_those_of_the_caller(ciphers):
    old, new = ciphers
    memory = MemorySecretProvider()
    inner = PrefixMiddleware(memory, "app/")
    stored(inner, old)
    seen = []
    ring = EncryptionMiddleware(inner, KeyRing(new, old))
    assert ring.rekey(progress=lambda *arguments: seen.append(arguments)) == 3
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert good(inner, new)
