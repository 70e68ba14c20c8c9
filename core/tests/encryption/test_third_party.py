"""Ciphers of a third party: what they raise or return wrongly is an error of ours, and shows no value."""

from __future__ import annotations

import traceback

import pytest
from strongroom import AESGCMEncryption, EncryptionMiddleware, KeyRing, SecretProviderRegistry, generate_key
from strongroom.backends import MemorySecretProvider
from strongroom.errors import (
    BackendUnavailableError,
    DecryptionError,
    EncryptionError,
    PermissionDeniedError,
    StrongroomError,
)

VALUE = "hunter2-hunter2"


class Reversing:
    """A cipher as somebody else may write it, which `fails` as told, or `returns` something else than text."""

    def __init__(self, fails=None, returns=None):
        self.fails, self.returns = fails, returns

    def encrypt(self, plaintext, *, context=b""):
        return self.done(f"own:{plaintext[::-1]}", plaintext)

    def decrypt(self, token, *, context=b""):
        return self.done(token.removeprefix("own:")[::-1], token[::-1])

    def done(self, result, shown):
        if self.fails is not None:
            raise self.fails(shown)
        return result if self.returns is None else self.returns(result)


class Batching(Reversing):
    """One that has a batch, too, as a server would."""

    def encrypt_many(self, items):
        return self.done([Reversing().encrypt(text) for text, _ in items], str(items))

    def decrypt_many(self, items):
        return self.done([Reversing().decrypt(token) for token, _ in items], str(items))


CLASSES = [Reversing, Batching]
FAILURES = {
    ValueError: EncryptionError,
    KeyError: EncryptionError,
    TypeError: EncryptionError,
    TimeoutError: BackendUnavailableError,
    PermissionError: PermissionDeniedError,
}


@pytest.fixture
def stored():
    """A provider that holds a token of such a cipher."""
    made = MemorySecretProvider()
    made.set_secret("k", Reversing().encrypt(VALUE))
    return made


def over(stored, cipher):
    registry = SecretProviderRegistry({"version": 1, "pipelines": {"m": {"provider": {"type": "memory"}}}})
    registry.register("own", EncryptionMiddleware(stored, cipher), prefix="k")
    return registry


def shown(error):
    return "".join(traceback.format_exception(error)) + repr(vars(error))


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize(("fails", "expected"), FAILURES.items())
@pytest.mark.parametrize(
    "ask",
    [
        lambda registry: registry.set_secret("k", VALUE),
        lambda registry: registry.set_secrets({"k": VALUE}),
        lambda registry: registry.set_secret_if("k", VALUE, None),
        lambda registry: registry.get_secret("k"),
        lambda registry: registry.get_secrets(["k"]),
    ],
)
def test_what_a_cipher_raises_is_an_error_of_ours_and_shows_no_value(stored, kind, fails, expected, ask):
    with over(stored, kind(fails)) as registry, pytest.raises(expected) as caught:
        ask(registry)
    assert not isinstance(caught.value, KeyError)
    assert VALUE not in shown(caught.value)
    assert VALUE[::-1] not in shown(caught.value)
    assert type(caught.value).__module__ == StrongroomError.__module__


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("returns", [lambda _: 5, lambda one: str(one).encode()])
def test_what_is_not_text_is_neither_stored_nor_handed_on(stored, kind, returns):
    with over(stored, kind(returns=returns)) as registry:
        for write in (lambda: registry.set_secret("k", VALUE), lambda: registry.set_secrets({"k": VALUE})):
            with pytest.raises(EncryptionError, match="returned"):
                write()
        for read in (lambda: registry.get_secret("k"), lambda: registry.get_secrets(["k"])):
            with pytest.raises(DecryptionError, match="returned"):
                read()


def test_a_secret_of_which_its_cipher_knows_nothing_is_not_absent(stored):
    """`not_found` would let a fallback go on, and a default take the secret's place."""
    with over(stored, Reversing(KeyError)) as registry, pytest.raises(DecryptionError):
        registry.get_secret("k")


@pytest.mark.parametrize("fails", [ValueError, KeyError, LookupError])
def test_a_key_ring_asks_the_next_cipher_whatever_one_raises(fails):
    newer, token = AESGCMEncryption(generate_key()), Reversing().encrypt(VALUE)
    assert KeyRing(newer, Reversing(fails), Reversing()).decrypt(token) == VALUE
    assert KeyRing(Reversing(fails), newer).decrypt(newer.encrypt(VALUE)) == VALUE
    with pytest.raises(DecryptionError) as caught:
        KeyRing(newer, Reversing(fails)).decrypt(token)
    assert VALUE not in shown(caught.value)


@pytest.mark.parametrize("fails", [ConnectionError, BackendUnavailableError])
def test_a_key_ring_does_not_call_a_token_wrong_while_a_cipher_cannot_be_asked(fails):
    with pytest.raises(BackendUnavailableError):
        KeyRing(Reversing(fails), AESGCMEncryption(generate_key())).decrypt(Reversing().encrypt(VALUE))
