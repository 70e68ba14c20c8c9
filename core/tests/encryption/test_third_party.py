"""Ciphers of a third party: what they raise or return wrongly is an error of ours, and shows no value."""

from __future__ import annotations

import traceback

import pytest
from strongroom import AESGCMEncryption, EncryptionMiddleware, KeyRing, SecretProviderRegistry, generate_key
from strongroom.backends import MemorySecretProvider
from strongroom.errors import (
    BackendUnavailableError,
    ConfigurationError,
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


class Acme:
    """A third party's cipher, whose `fails` raises or answers wrongly."""

    fails = None

    def encrypt(self, plaintext, *, context=b""):
        return self.fails(plaintext) if self.fails else f"acme:{plaintext[::-1]}"

    def decrypt(self, token, *, context=b""):
        plaintext = token.removeprefix("acme:")[::-1]
        return self.fails(plaintext) if self.fails else plaintext

    def failing(self, fails):
        self.fails = fails
        return self


class Telling(Acme):
    """It tells its tokens from other texts."""

    def wrote(self, token):
        return token.startswith("acme:")


def shows(value):
    raise ValueError(f"cannot take {value}")


def shows_as_its_cause(value):
    try:
        shows(value)
    except ValueError as error:
        raise RuntimeError from error


def is_down(value):
    raise ConnectionError(f"no answer about {value}")


@pytest.mark.parametrize("around", [lambda one: one, KeyRing], ids=["alone", "in a ring"])
@pytest.mark.parametrize(
    ("fails", "writing", "reading"),
    [
        (shows, EncryptionError, DecryptionError),
        (shows_as_its_cause, EncryptionError, DecryptionError),
        (is_down, BackendUnavailableError, BackendUnavailableError),
        (str.encode, EncryptionError, DecryptionError),
        (lambda _: None, EncryptionError, DecryptionError),
    ],
)
def test_what_goes_wrong_in_a_third_partys_cipher_names_it_and_shows_no_value(
    fails, writing, reading, around
):
    cipher = Telling()
    provider = EncryptionMiddleware(MemorySecretProvider(), around(cipher))
    provider.set_secret("a", VALUE)
    assert provider.get_secrets(["a"]) == {"a": VALUE}
    cipher.failing(fails)
    for call, expected in (
        (lambda: provider.set_secret("b", VALUE), writing),
        (lambda: provider.get_secret("a"), reading),
        (lambda: provider.get_secrets(["a"]), reading),
    ):
        with pytest.raises(expected) as caught:
            call()
        assert type(caught.value) is expected
        assert "Telling: " in str(caught.value)
        assert VALUE not in shown(caught.value)
        assert caught.value.__cause__ is caught.value.__context__ is None


def test_migrating_tells_a_third_partys_tokens_from_values_in_clear():
    """Their tokens begin with anything, so they were read as values."""
    inner = MemorySecretProvider(secrets={"old": "in clear"})
    provider = EncryptionMiddleware(inner, Telling(), migrate=True)
    provider.set_secret("new", "hunter2")
    assert inner.get_secret("new") == "acme:2retnuh"
    assert provider.get_secrets(["old", "new"]) == {"old": "in clear", "new": "hunter2"}
    assert provider.rekey() == 1
    assert inner.get_secret("old") == "acme:raelc ni"


class Unsure(Reversing):
    """One that fails with the text that it is asked about."""

    def wrote(self, token):
        raise self.fails(token)

    needs_rekey = wrote


@pytest.mark.parametrize("fails", FAILURES)
@pytest.mark.parametrize(
    "around", [lambda one: one, KeyRing, lambda one: KeyRing(AESGCMEncryption(generate_key()), one)]
)
def test_what_a_cipher_raises_that_is_asked_about_a_value_in_clear_shows_no_value(fails, around):
    inner = MemorySecretProvider(secrets={"k": VALUE})
    provider = EncryptionMiddleware(inner, around(Unsure(fails)), migrate=True)
    for ask in (lambda: provider.get_secret("k"), lambda: provider.get_secrets(["k"]), provider.rekey):
        with pytest.raises(StrongroomError, match="Unsure: wrote failed") as caught:
            ask()
        assert VALUE not in shown(caught.value)
        assert caught.value.__cause__ is caught.value.__context__ is None
    assert inner.get_secret("k") == VALUE


def test_a_value_that_nothing_can_be_told_of_is_named():
    provider = EncryptionMiddleware(
        MemorySecretProvider(secrets={"k": VALUE}), Unsure(KeyError), migrate=True
    )
    with pytest.raises(DecryptionError, match=r"^'k': Unsure: wrote") as caught:
        provider.get_secret("k")
    assert caught.value.key == "k"


@pytest.mark.parametrize("around", [lambda one: one, KeyRing, lambda one: KeyRing(Telling(), one)])
def test_migrating_refuses_a_cipher_that_cannot_tell_its_tokens(around):
    with pytest.raises(ConfigurationError, match="lacks the method wrote"):
        EncryptionMiddleware(MemorySecretProvider(), around(Acme()), migrate=True)


def test_a_third_partys_cipher_is_closed_with_its_pipeline():
    closed = []

    class Held(Acme):
        def close(self):
            closed.append(self)

    for cipher in (Held(), Acme()):
        with EncryptionMiddleware(MemorySecretProvider(), cipher):
            pass
    assert len(closed) == 1


def from_its_text(text):
    return raised_from(ValueError(f"refused: {text}"))


def raised_from(cause):
    error = PermissionDeniedError("the key may not be used")
    error.__cause__ = cause
    return error


def with_a_note(text):
    error = BackendUnavailableError("the service is down")
    error.add_note(f"it said: {text}")
    return error


def with_a_hint(text):
    return DecryptionError("the service refuses it", hint=f"look at {text}")


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("fails", [from_its_text, with_a_note, with_a_hint, DecryptionError])
@pytest.mark.parametrize(
    "call",
    [
        lambda own: own.set_secret("k", VALUE),
        lambda own: own.set_secrets({"k": VALUE}),
        lambda own: own.get_secret("k"),
        lambda own: own.get_secrets(["k"]),
    ],
)
def test_an_error_of_ours_keeps_its_class_and_not_what_it_was_raised_from(stored, kind, fails, call):
    """A cipher that asks a service may raise the right class, from an error that quotes the request."""
    with over(stored, kind(fails=fails)) as registry, pytest.raises(type(fails("x"))) as caught:
        call(registry)
    assert VALUE not in shown(caught.value)
    assert VALUE[::-1] not in shown(caught.value)
    assert "it was raised at" in caught.value.hint


def test_an_error_of_ours_that_shows_nothing_is_raised_as_it_is(stored):
    def fails(_):
        return raised_from(ConnectionRefusedError(111, "Connection refused"))

    with over(stored, Reversing(fails=fails)) as registry, pytest.raises(PermissionDeniedError) as caught:
        registry.get_secret("k")
    assert caught.value.message == "the key may not be used"
    assert isinstance(caught.value.__cause__, ConnectionRefusedError)
