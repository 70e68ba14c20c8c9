"""A third party's middleware, on our base class: what it raises and answers is guarded, what is inside is not."""

from __future__ import annotations

import traceback

import pytest
from strongroom.backends import MemorySecretProvider
from strongroom.errors import (
    BackendUnavailableError,
    PermissionDeniedError,
    SecretNotFoundError,
    StrongroomError,
    ValidationError,
)
from strongroom.middleware import Middleware, ValidationMiddleware

VALUE = "hunter2" + "-hunter2"


def chain_of(error):
    """Return the error and all that led to it, with every attribute, as text."""
    pieces = [*traceback.format_exception(error)]
    while error is not None:
        pieces.append(f"{error!r}{error.args}{vars(error)}{getattr(error, '__notes__', '')}")
        error = error.__cause__ or error.__context__
    return "".join(pieces)


class Acme(Middleware):
    """It gives every value to `seen`, which raises, or returns what is answered."""

    def __init__(self, inner, seen):
        super().__init__(inner)
        self.seen = seen

    def get_secret(self, key):
        return self.seen(self.inner.get_secret(key))

    def set_secret(self, key, value):
        self.inner.set_secret(key, self.seen(value))

    def list_secrets(self, prefix=""):
        return self.seen(self.inner.list_secrets(prefix))

    def get_secrets(self, keys):
        return {key: self.seen(value) for key, value in self.inner.get_secrets(keys).items()}

    def get_secret_version(self, key, version):
        return self.seen(self.inner.get_secret_version(key, version))


class Derived(Acme):
    """It overrides nothing, and yet its answers are those of a third party."""


def shows(value):
    raise ValueError(f"cannot take {value}")


def shows_in_a_note(value):
    error = RuntimeError("quiet")
    error.add_note(f"saw {value}")
    raise error


def shows_in_an_error_of_ours(value):
    raise ValidationError(f"not good: {value}")


def around(seen, cls=Acme):
    return cls(MemorySecretProvider(secrets={"a/k": VALUE}), seen)


CALLS = {
    "get": lambda one: one.get_secret("a/k"),
    "set": lambda one: one.set_secret("a/k", VALUE),
    "batch": lambda one: one.get_secrets(["a/k"]),
    "version": lambda one: one.get_secret_version("a/k", "1"),
}


@pytest.mark.parametrize("cls", [Acme, Derived])
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("fails", [shows, shows_in_a_note, shows_in_an_error_of_ours])
def test_its_errors_name_it_and_show_no_value(fails, call, cls):
    with pytest.raises(StrongroomError) as caught:
        call(around(fails, cls))
    assert f"{cls.__name__} failed with " in str(caught.value)
    assert "test_foreign.py:" in str(caught.value)
    assert VALUE not in chain_of(caught.value)


@pytest.mark.parametrize("call", [CALLS[name] for name in ("get", "batch", "version")])
@pytest.mark.parametrize("answer", [None, b"text"])
def test_an_answer_that_is_not_text_is_not_handed_on(call, answer):
    with pytest.raises(StrongroomError, match=r"Acme: get_secret\w* returned a \w+, not text"):
        call(around(lambda _: answer))


def test_a_list_may_be_anything_that_can_be_listed_and_heeds_the_prefix():
    assert around(lambda keys: (key for key in ["z", *keys])).list_secrets("a/") == ["a/k"]
    with pytest.raises(StrongroomError, match="list_secrets returned a NoneType, not a list"):
        around(lambda _: None).list_secrets()


@pytest.mark.parametrize(
    ("raised", "expected"),
    [(KeyError("a/k"), SecretNotFoundError), (PermissionError(), PermissionDeniedError)],
)
def test_its_errors_mean_what_those_of_a_provider_mean(raised, expected):
    def fails(_):
        raise raised

    with pytest.raises(expected):
        around(fails).get_secret("a/k")


def test_what_is_inside_fails_as_it_does_without_the_middleware():
    """Whatever the middleware has at hand: it did not make that error."""

    class Down(MemorySecretProvider):
        def get_secret(self, key):
            raise error

    # As of a package of another name than the middleware's.
    inner = ValidationMiddleware(MemorySecretProvider(secrets={"k": VALUE}), max_length=3)
    with pytest.raises(ValidationError) as alone:
        inner.get_secret("k")
    with pytest.raises(ValidationError) as within:
        Acme(inner, str).get_secret("k")
    assert str(within.value) == str(alone.value)
    error = BackendUnavailableError("down: https://vault.example.com", hint="start it")
    with pytest.raises(BackendUnavailableError) as kept:
        Acme(Down(), str).get_secret("k")
    assert kept.value is error


def test_its_own_class_meets_its_own_errors():
    """`super()` is not guarded, so that handlers find the classes that the code raises."""
    handled = []

    class Lenient(Acme):
        def get_secret(self, key):
            try:
                return super().get_secret(key)
            except ValueError:
                handled.append(key)
                return "none"

    assert around(shows, Lenient).get_secret("a/k") == "none"
    assert handled == ["a/k"]


def test_it_still_has_what_the_inner_provider_has():
    provider = around(str)
    assert provider.get_secrets(["a/k", "absent"]) == {"a/k": VALUE}
    version = provider.set_secret_if("new", "1", None)
    assert provider.get_secret_version("new", version) == "1"
    provider.delete_secret("new")
    with pytest.raises(SecretNotFoundError):
        provider.get_secret("new")
