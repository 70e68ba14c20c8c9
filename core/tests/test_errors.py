"""The error tree: classes, attributes, messages, and that errors cross processes."""

from __future__ import annotations

import pickle

import pytest
import strongroom
from strongroom import errors
from strongroom.errors import (
    AuditError,
    AuthenticationError,
    BackendUnavailableError,
    ConfigurationError,
    ConflictError,
    DecryptionError,
    EncryptionError,
    InvalidKeyError,
    InvalidTenantError,
    PermissionDeniedError,
    PluginError,
    ReadOnlyError,
    RotationError,
    SecretNotFoundError,
    SecretTooLargeError,
    SpecError,
    StrongroomError,
    TamperedError,
    TenantContextError,
    ThrottledError,
    UnsupportedOperationError,
    UntrustedSpecError,
    ValidationError,
    show_key,
)

PARENTS = {
    SecretNotFoundError: (StrongroomError, KeyError),
    InvalidKeyError: (StrongroomError, ValueError),
    SecretTooLargeError: (StrongroomError, ValueError),
    ValidationError: (StrongroomError, ValueError),
    ConfigurationError: (StrongroomError,),
    SpecError: (ConfigurationError,),
    UntrustedSpecError: (ConfigurationError,),
    PluginError: (ConfigurationError,),
    PermissionDeniedError: (StrongroomError, PermissionError),
    AuthenticationError: (StrongroomError,),
    BackendUnavailableError: (StrongroomError, ConnectionError),
    ThrottledError: (BackendUnavailableError,),
    ConflictError: (StrongroomError,),
    UnsupportedOperationError: (StrongroomError,),
    ReadOnlyError: (StrongroomError,),
    EncryptionError: (StrongroomError,),
    DecryptionError: (EncryptionError,),
    TamperedError: (DecryptionError,),
    TenantContextError: (StrongroomError,),
    InvalidTenantError: (StrongroomError, ValueError),
    RotationError: (StrongroomError,),
    AuditError: (StrongroomError,),
}
KEYED = {SecretNotFoundError, InvalidKeyError, SecretTooLargeError}
every_class = pytest.mark.parametrize("cls", PARENTS, ids=lambda cls: cls.__name__)


def make(cls):
    return cls("a/key") if cls in KEYED else cls("what happened")


@every_class
def test_each_error_is_what_the_tree_says(cls):
    """Callers catch by these classes, the built-in ones too."""
    assert all(issubclass(cls, parent) for parent in PARENTS[cls])


def test_the_tree_is_whole():
    """What is exported is the tree, sorted, and how a message shows a key."""
    named = {cls.__name__ for cls in PARENTS} | {"StrongroomError", "NotFoundReason", "show_key"}
    assert set(errors.__all__) == named
    assert sorted(errors.__all__) == errors.__all__


def test_the_five_failures_do_not_catch_one_another():
    """Absent, denied, not logged in, throttled and down are told apart."""
    five = [SecretNotFoundError, PermissionDeniedError, AuthenticationError, ThrottledError]
    for one in five:
        assert not [other for other in five if other is not one and issubclass(one, other)]
    assert not issubclass(BackendUnavailableError, ThrottledError)


@every_class
def test_retryable_are_the_unavailable(cls):
    """Only what a later call may mend is retryable."""
    assert make(cls).retryable is issubclass(cls, BackendUnavailableError)


@every_class
def test_attributes_default_to_none(cls):
    """What was not said is None, never missing."""
    error = make(cls)
    assert [error.pipeline, error.provider, error.hint] == [None, None, None]
    assert error.key == ("a/key" if cls in KEYED else None)


@every_class
def test_errors_survive_pickling(cls):
    """Errors cross processes with everything that they say."""
    error = make(cls)
    error.pipeline, error.provider, error.hint = "app", "vault", "do this"
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is cls
    assert (str(copy), copy.args, vars(copy)) == (str(error), error.args, vars(error))


def test_the_hint_follows_the_message():
    """One line: what happened; what to do."""
    assert str(ConfigurationError("it is wrong", hint="put it right")) == "it is wrong; put it right"
    assert str(ConfigurationError("it is wrong")) == "it is wrong"


def test_a_keyed_error_names_its_key():
    """Without a message of its own the error says which key."""
    assert str(InvalidKeyError("a b")) == "invalid key 'a b'"
    assert str(SecretTooLargeError("a")) == "the value for 'a' is too large"
    assert SecretNotFoundError("a").args == ("a",)


@pytest.mark.parametrize(
    ("reason", "text"),
    [("absent", "secret 'a' not found"), ("deleted", "secret 'a' not found: deleted")],
)
def test_not_found_tells_the_reason(reason, text):
    """`reason` is in the message, save where the secret is simply not there."""
    error = SecretNotFoundError("a", reason=reason)
    assert (error.reason, str(error)) == (reason, text)


def test_throttled_tells_how_long():
    """Seconds that the backend asked to wait are there for whoever retries."""
    assert ThrottledError("slow down", retry_after=1.5).retry_after == 1.5
    assert ThrottledError("slow down").retry_after is None
    assert pickle.loads(pickle.dumps(ThrottledError("slow down", retry_after=2))).retry_after == 2


def test_spec_error_lists_problems():
    """There is always at least one problem."""
    assert SpecError("one").problems == ("one",)
    assert SpecError("two", problems=("a", "b")).problems == ("a", "b")


def test_show_key_is_one_printable_line():
    """Whatever the key, a message stays one line that a terminal can show."""
    assert show_key("a/b") == "'a/b'"
    assert show_key("a\x1b[31m\n") == r"'a\x1b[31m\n'"
    assert show_key("\ud800") == r"'\ud800'"
    assert show_key("k" * 512).endswith("… (512 characters)")
    assert show_key(b"bytes") == "a bytes"


def test_applications_may_take_them_from_the_package():
    for name in set(errors.__all__) - {"NotFoundReason", "show_key"}:
        assert getattr(strongroom, name) is getattr(errors, name)
        assert name in strongroom.__all__
