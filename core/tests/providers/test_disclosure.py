"""Errors of strangers: none shows a value, wherever it is held."""

from __future__ import annotations

import base64
import html
import json
from collections import UserDict, deque
from types import MappingProxyType, SimpleNamespace
from urllib.parse import quote, quote_plus

import pytest
from provider_support import Failing, Held, Stranger, by_cause
from strongroom import errors
from strongroom.errors import (
    BackendUnavailableError,
    ConflictError,
    SecretNotFoundError,
    SecretTooLargeError,
    StrongroomError,
)
from strongroom.providers import SecretVersion, guard
from strongroom.runtime import disclosure
from strongroom.testing.conformance.base import SECRET, assert_harmless


class Slotted:
    """Holds a value as a data class with slots does."""

    __slots__ = ("payload",)

    def __init__(self, payload):
        self.payload = payload


def received():
    return SECRET


HOLDERS = {
    "an attribute": (lambda value: SimpleNamespace(payload=value), lambda one: one.payload),
    "a slot": (Slotted, lambda one: one.payload),
    "a dictionary": (lambda value: {"a": value}, lambda one: one["a"]),
    "a mapping": (lambda value: UserDict(a=value), lambda one: one["a"]),
    "a proxy of a dictionary": (lambda value: MappingProxyType({"a": value}), lambda one: one["a"]),
    "a queue": (lambda value: deque([value]), lambda one: one[0]),
    "a view": (lambda value: memoryview(value.encode()), lambda one: bytes(one).decode()),
}


@pytest.mark.parametrize(("hold", "value_in"), HOLDERS.values(), ids=HOLDERS)
def test_an_error_shows_no_value_that_the_provider_holds(hold, value_in):
    """Not in its text, its cause or its context."""

    class Parser(Stranger):
        def get_secret(self, key):
            held = hold(received())
            raise ValueError("cannot parse " + value_in(held))

    provider = guard(Parser())
    with pytest.raises(StrongroomError) as caught:
        provider.get_secret("a")
    assert_harmless(caught.value, SECRET)
    assert "is not shown" in str(caught.value)


@pytest.mark.parametrize("method", ["__str__", "__repr__"])
def test_an_error_shows_no_value_by_a_text_that_its_class_writes(method):
    """It may take the value from a slot, or from what is around the class."""

    class Parser(Stranger):
        def get_secret(self, key):
            value = received()
            own = {method: lambda _: f"cannot parse {value}"}
            raise type("Refused", (ValueError,), own)

    provider = guard(Parser())
    with pytest.raises(StrongroomError) as caught:
        provider.get_secret("a")
    assert_harmless(caught.value, SECRET)
    assert "is not shown" in str(caught.value)


def test_an_error_whose_class_writes_a_text_about_its_members_is_the_cause():
    class Refused(Exception):
        def __init__(self, status, address):
            self.status, self.address = status, address

        def __str__(self):
            return f"the answer was {self.status!r} at {self.address!r}"

    class Web(Stranger):
        def get_secret(self, key):
            raise Refused("No Content".upper(), "web.example".title())

    provider = guard(Web())
    with pytest.raises(StrongroomError) as caught:
        provider.get_secret("a")
    assert str(caught.value.__cause__) == "the answer was 'NO CONTENT' at 'Web.Example'"


ENCODERS = {
    "base64": lambda value: base64.b64encode(value).decode(),
    "base64 for URLs, in a path": lambda value: f"/v1/{base64.urlsafe_b64encode(value).decode()}",
    "basic authentication": lambda value: f"Basic {base64.b64encode(b'user:' + value).decode()}",
    "hexadecimal": bytes.hex,
    "a URL": lambda value: f"https://host/?q={quote(value, safe='')}",
    "a form": lambda value: f"q={quote_plus(value)}",
    "HTML": lambda value: f"<p>{html.escape(value.decode())}</p>",
}


@pytest.mark.parametrize("encode", ENCODERS.values(), ids=ENCODERS)
@pytest.mark.parametrize("value", ["hunter2-is-secret", "p w'<ü>&%2"])
def test_an_error_shows_no_value_that_is_encoded(encode, value):
    """Neither one that was read, nor one that was to be written."""

    class Client(Stranger):
        def get_secret(self, key):
            held = [value]
            raise ValueError("refused: " + encode(held[0].encode()))

        def set_secret(self, key, value):
            raise ValueError("refused: " + encode(value.encode()))

    provider = guard(Client())
    for call in (lambda: provider.get_secret("a"), lambda: provider.set_secret("a", value)):
        with pytest.raises(StrongroomError, match="Client failed") as caught:
            call()
        assert_harmless(caught.value, encode(value.encode()))


def test_an_error_is_shown_beside_bytes_that_are_too_short_to_be_a_value():
    class Client(Stranger):
        def get_secret(self, key):
            body = b""
            raise OSError(f"status {500 + len(body)}")

    provider = guard(Client())
    with pytest.raises(StrongroomError) as caught:
        provider.get_secret("a")
    assert str(caught.value.__cause__) == "status 500"


@pytest.mark.parametrize("size", [200_000, 2_000])
def test_an_error_is_kept_back_if_it_takes_long_to_look_through(monkeypatch, size):
    monkeypatch.setattr(disclosure, "_MOST_COMPARED", 1_000_000)

    class Client(Stranger):
        def get_secret(self, key):
            rows = [f"row {number}" for number in range(1_000)]
            raise OSError("z" * size * bool(rows))

    provider = guard(Client())
    with pytest.raises(StrongroomError, match="is not shown"):
        provider.get_secret("a")


def test_an_error_is_kept_back_where_what_the_provider_holds_cannot_be_looked_at():
    """As the proxies of web frameworks outside of a request."""

    class Proxy:
        @property
        def __class__(self):
            raise RuntimeError(f"no request: {SECRET}")

    class Web(Stranger):
        def get_secret(self, key):
            if request is not None:
                raise ValueError("cannot parse " + received())

    request = Proxy()
    provider = guard(Web())
    with pytest.raises(StrongroomError) as caught:
        provider.get_secret("a")
    assert_harmless(caught.value, SECRET)


def test_a_cause_that_holds_the_value_is_dropped():
    """The value that was to be written is in no text of the error, nor in its cause or context."""
    for error in (RuntimeError(f"cannot store {SECRET}"), RuntimeError("no", {"value": SECRET})):
        with pytest.raises(StrongroomError) as caught:
            guard(Failing(error)).set_secret("key", SECRET)
        assert_harmless(caught.value, SECRET)


def _by_context(value):
    try:
        int(value)
    except ValueError:
        raise RuntimeError("write failed")  # noqa: B904  # that is the fault


def _by_hidden_context(value):
    try:
        int(value)
    except ValueError:
        raise RuntimeError("write failed") from None


def _by_note(value):
    error = RuntimeError("write failed")
    error.add_note(f"sent {value}")
    raise error


def _by_attribute(value):
    error = RuntimeError("write failed")
    error.payload = {"data": [value]}
    raise error


def _by_group(value):
    inner = ExceptionGroup("both", [KeyError("other"), ValueError(value)])
    raise ExceptionGroup("write failed", [inner, OSError("down")])


def _by_cause_of_a_member(value):
    error = OSError("down")
    error.__cause__ = ValueError(value)
    raise ExceptionGroup("write failed", [error])


def _by_cause_of_ours(value):
    raise ConflictError("changed meanwhile") from ValueError(value)


def _by_ours(value):
    raise SecretTooLargeError("key", f"{value} is too large")


def _by_type_error(value):
    raise TypeError("no text") from ValueError(value)


def _in_base64(value):
    raise RuntimeError("write failed") from ValueError(base64.b64encode(value.encode()))


def _in_json(value):
    raise RuntimeError(json.dumps({"data": value}))


def _without_text(value):
    class Unreadable(Exception):
        def __str__(self):
            raise RuntimeError(value)

    raise Unreadable(value)


@pytest.mark.parametrize(
    ("fail", "kind"),
    [
        (by_cause, StrongroomError),
        (_by_context, StrongroomError),
        (_by_hidden_context, StrongroomError),
        (_by_note, StrongroomError),
        (_by_attribute, StrongroomError),
        (_by_group, StrongroomError),
        (_by_cause_of_a_member, StrongroomError),
        (_by_cause_of_ours, ConflictError),
        (_by_ours, SecretTooLargeError),
        (_by_type_error, TypeError),
        (_in_base64, StrongroomError),
        (_in_json, StrongroomError),
        (_without_text, StrongroomError),
    ],
)
@pytest.mark.parametrize(
    "write",
    [
        lambda guarded, value: guarded.set_secret("key", value),
        lambda guarded, value: guarded.set_secret_if("key", value, None),
        lambda guarded, value: guarded.stage_secret("key", value=value),
        lambda guarded, value: guarded.set_secrets({"key": value}),
    ],
    ids=["set", "set_if", "stage", "set_many"],
)
def test_no_chain_of_a_failed_write_holds_the_value(fail, kind, write):
    """Wherever a stranger's error has it: causes, contexts, notes, attributes, groups, and encoded."""
    value = f'{SECRET}/"é\n'
    with pytest.raises(kind) as caught:
        write(guard(Held(fail)), value)
    assert type(caught.value) is kind
    assert str(caught.value).startswith("Held failed with ")
    assert_harmless(caught.value, *_written(value))
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


def _written(value):
    raw = value.encode()
    return (
        value,
        SECRET,
        repr(value)[1:-1],
        json.dumps(value)[1:-1],
        base64.b64encode(raw).decode().rstrip("="),
    )


SHELF = {"global": SECRET}


class Reading(Stranger):
    """Its reads fail with the value that they have found; how, `fail` says."""

    def __init__(self, fail):
        super().__init__()
        self.kept = {"key": SECRET, "other": f"{SECRET} of another key"}
        self.url = "https://vault.example:8200"
        self.fail = fail

    def _fails(self, key):
        self.fail(self, key)

    def get_secret(self, key):
        self._fails(key)

    def get_secrets(self, keys):
        self._fails(next(iter(keys)))

    def get_secret_version(self, key, version):
        self._fails(key)

    def delete_secret(self, key):
        self._fails(key)

    def describe_secret(self, key):
        self._fails(key)

    def list_versions(self, key):
        yield SecretVersion("1", None, "current")
        self._fails(key)

    def list_secrets(self, prefix=""):
        yield "key"
        self._fails("key")


def _fetched(provider, key):
    """Return the value, which nothing but the error refers to afterwards."""
    return provider.kept[key][:5] + provider.kept[key][5:]


def _of_a_local(provider, key):
    value = provider.kept[key]
    raise RuntimeError(f"cannot parse {value}")


def _of_what_hangs_on_it(provider, key):
    raise RuntimeError(f"cannot parse {provider.kept[key]}")


def _of_a_conversion(provider, key):
    int(_fetched(provider, key))


def _of_a_document(provider, key):
    json.loads(_fetched(provider, key))


def _of_bytes(provider, key):
    (_fetched(provider, key).encode() + b"\xff").decode()


def _of_a_global(provider, key):
    raise ValueError(SHELF["global"] + " is wrong")


def _of_a_cause(provider, key):
    try:
        int(_fetched(provider, key))
    except ValueError as error:
        raise BackendUnavailableError("cannot parse the answer") from error


def _of_an_error_of_ours(provider, key):
    value = provider.kept[key]
    raise SecretNotFoundError(key, f"{key} holds {value}", reason="disabled")


def _of_a_type_error(provider, key):
    value = provider.kept[key]
    raise TypeError(f"{value} is not a number")


READS = {
    "get": lambda provider: provider.get_secret("key"),
    "batch": lambda provider: provider.get_secrets(key for key in ["key", "other"]),
    "version": lambda provider: provider.get_secret_version("key", "1"),
    "delete": lambda provider: provider.delete_secret("key"),
    "describe": lambda provider: provider.describe_secret("key"),
    "versions, one by one": lambda provider: provider.list_versions("key"),
    "list, one by one": lambda provider: provider.list_secrets(),
}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
@pytest.mark.parametrize(
    ("fail", "kind"),
    [
        (_of_a_local, StrongroomError),
        (_of_what_hangs_on_it, StrongroomError),
        (_of_a_conversion, StrongroomError),
        (_of_a_document, StrongroomError),
        (_of_bytes, StrongroomError),
        (_of_a_global, StrongroomError),
        (_of_a_cause, BackendUnavailableError),
        (_of_an_error_of_ours, SecretNotFoundError),
        (_of_a_type_error, TypeError),
    ],
)
def test_no_chain_of_a_failed_read_holds_the_value(fail, kind, read):
    """Nobody has said which value that is: it is what the stranger's code had in its hands as it failed."""
    with pytest.raises(kind) as caught:
        read(guard(Reading(fail)))
    assert type(caught.value) is kind
    assert_harmless(caught.value, SECRET)
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)
    assert "raised at test_disclosure.py:" in str(caught.value) or "raised at decoder.py:" in str(
        caught.value
    )
    if kind is SecretNotFoundError:
        assert caught.value.reason == "disabled"


def _no_answer(provider, key):
    path = f"/v1/secret/{key}"
    raise ConnectionError(f"{provider.url}{path} does not answer")


def _of_ours(provider, key):
    where = f"{provider.url}/v1/{key}"
    raise BackendUnavailableError(f"{where} does not answer", key=key, hint=f"look at '{provider.url}'")


@pytest.mark.parametrize("read", ["get", "batch", "version", "delete", "describe", "versions, one by one"])
@pytest.mark.parametrize("fail", [_no_answer, _of_ours])
def test_where_a_read_failed_may_be_told(fail, read):
    """The key, and what the provider was set up with, are not values; nor are texts made of those."""
    with pytest.raises(BackendUnavailableError) as caught:
        READS[read](guard(Reading(fail)))
    assert "does not answer" in str(caught.value.__cause__ or caught.value)


def test_a_harmless_chain_stays():
    """What says nothing of the value is worth having, whatever it hangs on; a version is not a value."""

    def fail(value):
        raise ConflictError("version 3 is not the current one") from RuntimeError("no")

    with pytest.raises(ConflictError, match="version 3 is not") as caught:
        guard(Held(fail)).set_secret_if("key", SECRET, "3")
    assert isinstance(caught.value.__cause__, RuntimeError)
    endless = RuntimeError("one")
    endless.__cause__ = RuntimeError("other")
    endless.__cause__.__cause__ = endless
    with pytest.raises(StrongroomError) as caught:
        guard(Failing(endless)).set_secret("key", SECRET)
    assert caught.value.__cause__ is endless


@pytest.mark.parametrize("name", [name for name in errors.__all__ if name.endswith("Error")])
def test_an_error_of_ours_that_says_the_value_keeps_its_class(name):
    kind = getattr(errors, name)

    class Own(kind):
        pass

    def fail(value):
        raise Own(f"cannot store {value}")

    with pytest.raises(StrongroomError) as caught:
        guard(Held(fail)).set_secret("key", SECRET)
    assert type(caught.value) is (errors.ConfigurationError if kind is errors.SpecError else kind)
    assert_harmless(caught.value, SECRET)
