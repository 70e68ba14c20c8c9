"""Protocols, capabilities, and the guard that lets any object with the four methods take part."""

from __future__ import annotations

import base64
import html
import json
import threading
from collections import UserDict, deque
from contextlib import nullcontext
from datetime import UTC, datetime
from itertools import product
from types import MappingProxyType, SimpleNamespace
from urllib.parse import quote, quote_plus

import pytest
from interrupts import interrupted
from strongroom import TenantContext, TenantSecretProvider, errors
from strongroom.errors import (
    BackendUnavailableError,
    ConflictError,
    InvalidKeyError,
    PermissionDeniedError,
    SecretNotFoundError,
    SecretTooLargeError,
    StrongroomError,
)
from strongroom.keys import check_prefix, check_value, is_reserved
from strongroom.providers import (
    CAPABILITIES,
    BaseProvider,
    BatchReader,
    Describer,
    FullProvider,
    SecretMetadata,
    SecretProvider,
    SecretVersion,
    capabilities,
    capability_methods,
    disclosure,
    guard,
    unsupported,
)
from strongroom.testing import ProviderConformance, sampled
from strongroom.testing.conformance.base import SECRET, assert_harmless
from strongroom.testing.sampling import together
from strongroom_memory import MemorySecretProvider


class Stranger:
    """Written by somebody who knows the four methods and the rules, and none of our errors but those."""

    def __init__(self):
        self.kept = {}

    def get_secret(self, key):
        return self.kept[key]

    def set_secret(self, key, value):
        self.kept[key] = check_value(value, key)

    def delete_secret(self, key):
        del self.kept[key]

    def list_secrets(self, prefix=""):
        check_prefix(prefix)
        return [key for key in list(self.kept) if key.startswith(prefix) and not is_reserved(key)]


class Failing(Stranger):
    def __init__(self, error):
        super().__init__()
        self.error = error

    def get_secret(self, key):
        raise self.error

    def set_secret(self, key, value):
        raise self.error


@together(pytest.mark.torture)
class TestGuarded(ProviderConformance):
    """An object with just the four methods passes the kit through its guard."""

    provider_class = type(guard(Stranger()))

    @pytest.fixture
    def provider(self):
        return guard(Stranger())


@sampled(pytest.mark.torture)
class TestFullyGuarded(ProviderConformance):
    """So does one with every capability, none of which gets lost."""

    @pytest.fixture
    def provider(self):
        class Unrelated:
            """Has the methods of memory without being of its family."""

        for name in dir(MemorySecretProvider):
            if not hasattr(Unrelated, name) or name in {"__init__", "__repr__"}:
                setattr(Unrelated, name, getattr(MemorySecretProvider, name))
        assert not isinstance(Unrelated(), BaseProvider)
        return guard(Unrelated())


def test_capabilities_are_found_by_their_methods():
    """Nothing is declared: having the methods is having the capability."""

    class Some(Stranger):
        def get_secrets(self, keys):
            return {}

        def list_versions(self, key):
            return []

    assert capabilities(Some()) == {BatchReader}
    assert capability_methods(Some()) == {"get_secrets"}
    assert capabilities(Stranger()) == set()


def test_capabilities_and_their_methods_agree():
    """The table lists exactly the methods of each protocol, and `FullProvider` has them all."""
    for protocol, names in CAPABILITIES.items():
        assert {name for name in vars(protocol) if not name.startswith("_")} == set(names)
        assert all(hasattr(FullProvider, name) for name in names)


def test_a_provider_of_ours_is_not_guarded():
    """Deriving from `BaseProvider` promises that the errors are ours already."""
    provider = MemorySecretProvider()
    assert guard(provider) is provider


def test_what_lacks_a_method_is_no_provider():
    """The error says which methods are missing."""
    with pytest.raises(
        TypeError, match=r"object is not a secret provider: it lacks get_secret, .*list_secrets"
    ):
        guard(object())


def test_a_guard_has_the_capabilities_of_what_it_guards():
    """No more, and no fewer."""

    class Some(Stranger):
        def describe_secret(self, key):
            return SecretMetadata(key, "1")

    guarded = guard(Some())
    assert Describer in capabilities(guarded)
    assert BatchReader not in capabilities(guarded)
    assert guarded.describe_secret("a") == SecretMetadata("a", "1")
    assert isinstance(guarded, SecretProvider)


class Careless:
    """Written by somebody who knows the four methods, and no rules."""

    def __init__(self):
        self.kept = {".rotation/a": "state"}

    def get_secret(self, key):
        return self.kept[key]

    def set_secret(self, key, value):
        self.kept[key] = value

    def delete_secret(self, key):
        del self.kept[key]

    def list_secrets(self, prefix=""):
        return [key for key in self.kept if key.startswith(prefix)]

    def describe_secret(self, key):
        self.asked = key
        return SecretMetadata(key, "1")


def test_a_guard_keeps_the_rules_for_a_stranger_who_knows_none():
    """Bad keys and what is not text do not reach it, and the state of rotations is in no list."""
    stranger = Careless()
    guarded = guard(stranger)
    with pytest.raises(TypeError):
        guarded.set_secret("a", None)
    with pytest.raises(InvalidKeyError):
        guarded.describe_secret("a//b")
    assert not hasattr(stranger, "asked")
    guarded.set_secret("b", "value")
    guarded.set_secret("a", "value")
    assert guarded.list_secrets() == ["a", "b"]
    assert guarded.get_secret(".rotation/a") == "state"


def test_a_list_that_fails_by_its_prefix_is_not_a_secret_that_is_absent():
    """A dictionary of folders raises `KeyError(prefix)`, say; a copy or a cache would go on as after an answer."""

    class MissingFolder(KeyError):
        @property
        def key(self):
            return self.args[0]

    class Folders(Careless):
        def __init__(self, error):
            super().__init__()
            self.error = error

        def list_secrets(self, prefix=""):
            raise self.error(prefix)

    for prefix, error in product(("a/", ""), (KeyError, MissingFolder)):
        with pytest.raises(StrongroomError, match=f"Folders failed with {error.__name__}") as failed:
            guard(Folders(error)).list_secrets(prefix)
        assert not isinstance(failed.value, SecretNotFoundError)
        assert failed.value.key is None


class Trusting(Careless):
    """One with every way to write, which takes whatever it is given."""

    def set_secrets(self, values):
        self.kept.update(values)

    def set_secret_if(self, key, value, expected_version):
        self.kept[key] = value
        return "1"

    def stage_secret(self, key, value):
        return self.set_secret_if(key, value, None)

    def promote_version(self, key, version, *, expected_version): ...

    def discard_version(self, key, version): ...


WRITES = {
    "set": lambda one, key, value: one.set_secret(key, value),
    "batch": lambda one, key, value: one.set_secrets({"good": "1", key: value}),
    "named batch": lambda one, key, value: one.set_secrets(values={"good": "1", key: value}),
    "condition": lambda one, key, value: one.set_secret_if(key, value, None),
    "named condition": lambda one, key, value: one.set_secret_if(key, value=value, expected_version=None),
    "stage": lambda one, key, value: one.stage_secret(key, value),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
@pytest.mark.parametrize(
    ("key", "value", "error"),
    [
        ("a", None, TypeError),
        ("a", 5, TypeError),
        ("a", "\ud800", errors.ValidationError),
        ("a//b", "1", InvalidKeyError),
        (None, "1", (InvalidKeyError, TypeError)),
    ],
)
def test_no_way_to_write_gives_a_stranger_what_is_no_key_or_no_text(write, key, value, error):
    """Nothing is written then, also of a batch."""
    stranger = Trusting()
    before = dict(stranger.kept)
    with pytest.raises(error):
        write(guard(stranger), key, value)
    assert stranger.kept == before
    write(guard(stranger), "a", "1")
    assert stranger.kept["a"] == "1"


@pytest.mark.parametrize("key", ["a//b", None])
@pytest.mark.parametrize("call", ["describe_secret", "discard_version", "promote_version"])
def test_nor_any_other_call_what_is_no_key(call, key):
    stranger = Trusting()
    arguments = {"describe_secret": [], "discard_version": ["1"], "promote_version": ["1"]}[call]
    named = {"expected_version": None} if call == "promote_version" else {}
    with pytest.raises((InvalidKeyError, TypeError)):
        getattr(guard(stranger), call)(key, *arguments, **named)
    assert not hasattr(stranger, "asked")


def test_key_error_of_the_asked_key_is_not_found():
    """`KeyError(key)` is how a stranger says that it is not there."""
    with pytest.raises(SecretNotFoundError) as caught:
        guard(Stranger()).get_secret("absent")
    assert (caught.value.key, caught.value.provider) == ("absent", "Stranger")


def test_a_guard_around_a_middleware_passes_on_the_error_of_what_is_inside():
    """It was kept back, since its text has what the middleware could reach: the name of the provider inside."""

    class Plain(Careless):
        def __init__(self, inner):
            self.inner = inner

        def get_secret(self, key):
            return self.inner.get_secret(key)

    inner = guard(Careless())
    with pytest.raises(SecretNotFoundError) as caught:
        guard(Plain(inner), around=inner).get_secret("absent")
    assert (str(caught.value), caught.value.provider) == ("secret 'absent' not found", "Careless")


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


@pytest.mark.parametrize("error", [KeyError("other"), KeyError(), KeyError("absent", 1)], ids=repr)
def test_any_other_key_error_is_a_failure(error):
    """A bug within a stranger's provider is not told as "not found"."""
    with pytest.raises(StrongroomError) as caught:
        guard(Failing(error)).get_secret("absent")
    assert not isinstance(caught.value, SecretNotFoundError)
    assert caught.value.__cause__ is error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (PermissionError("no"), PermissionDeniedError),
        (ConnectionRefusedError("no"), BackendUnavailableError),
        (TimeoutError("no"), BackendUnavailableError),
        (RuntimeError("no"), StrongroomError),
    ],
)
def test_errors_of_strangers_are_translated(error, expected):
    """Callers catch ours, with the cause, the key and the provider."""
    with pytest.raises(StrongroomError) as caught:
        guard(Failing(error)).get_secret("key")
    assert type(caught.value) is expected
    assert caught.value.__cause__ is error
    assert (caught.value.key, caught.value.provider) == ("key", "Failing")


@pytest.mark.parametrize("error", [ConflictError("mine"), TypeError("no text")])
def test_errors_of_ours_pass(error):
    """What is one of ours already stays the same object."""
    with pytest.raises(type(error)) as caught:
        guard(Failing(error)).set_secret("key", "value")
    assert caught.value is error


def test_a_cause_that_holds_the_value_is_dropped():
    """The value that was to be written is in no text of the error, nor in its cause or context."""
    for error in (RuntimeError(f"cannot store {SECRET}"), RuntimeError("no", {"value": SECRET})):
        with pytest.raises(StrongroomError) as caught:
            guard(Failing(error)).set_secret("key", SECRET)
        assert_harmless(caught.value, SECRET)


class Held(Stranger):
    """Its writes fail with an error that `fail` builds around the value."""

    def __init__(self, fail):
        super().__init__()
        self.fail = fail

    def set_secret(self, key, value):
        self.fail(value)

    def set_secret_if(self, key, value, expected_version):
        self.fail(value)

    def stage_secret(self, key, value):
        self.fail(value)

    def promote_version(self, key, version, *, expected_version):
        self.fail(version)

    def discard_version(self, key, version):
        self.fail(version)

    def set_secrets(self, values):
        for value in values.values():
            self.fail(value)


def _by_cause(value):
    raise RuntimeError("write failed") from ValueError(value)


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
        (_by_cause, StrongroomError),
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
    assert "raised at test_providers.py:" in str(caught.value) or "raised at decoder.py:" in str(caught.value)
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


def test_what_a_stranger_gives_bit_by_bit_is_whole_and_text():
    class Odd(Stranger):
        def list_secrets(self, prefix=""):
            yield from ("b", "a", ".rotation/a")

        def get_secrets(self, keys):
            return dict.fromkeys(keys, 7)

        def list_versions(self, key):
            yield SecretVersion("1", None, "current")

        def get_secret_version(self, key, version):
            return b"bytes"

    odd = guard(Odd())
    assert odd.list_secrets() == ["a", "b"]
    assert odd.list_versions("a") == [SecretVersion("1", None, "current")]
    for call in (lambda: odd.get_secrets(["a"]), lambda: odd.get_secret_version("a", "1")):
        with pytest.raises(StrongroomError, match=r"Odd: get_secret\w+ returned a \w+, not text"):
            call()
    with pytest.raises(InvalidKeyError):
        odd.get_secrets(["a//b"])


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


@pytest.mark.parametrize("batch", ["get_secrets", "set_secrets"])
def test_an_error_of_a_batch_that_is_kept_back_still_names_its_key(batch, plain):
    """It belongs to that key, and the caller has named the key itself."""

    class Batches(plain):
        def get_secrets(self, keys):
            raise SecretNotFoundError(self.wrong, f"gone, as is {self.secrets['a']}", reason="deleted")

        set_secrets = get_secrets

    for wrong, named in (("b", "b"), ("c", "")):
        provider = Batches({"a": "value-of-another"})
        provider.wrong = wrong
        with pytest.raises(SecretNotFoundError) as caught:
            getattr(guard(provider), batch)({"a": "1", "b": "2"})
        assert "value-of-another" not in str(caught.value)
        assert (caught.value.key, caught.value.reason) == (named, "deleted")


def test_a_key_by_its_name_is_checked_too():
    """The rules for keys hold for `key=` as for the first argument."""
    with pytest.raises(InvalidKeyError):
        guard(Held(_by_cause)).stage_secret(key="a//b", value="value")


def test_unsupported_names_provider_and_operation():
    """The error for what a provider cannot do says which provider, what, and about which key."""
    error = unsupported("describe_secret", MemorySecretProvider(), "a/b")
    assert str(error).startswith("memory has no describe_secret for 'a/b'")
    assert (error.key, error.provider) == ("a/b", "memory")
    assert unsupported("stage_secret", Stranger()).provider == "Stranger"


def test_base_provider():
    """It closes with its block, and shows its class alone."""

    class Closing(BaseProvider):
        closed = 0

        def close(self):
            self.closed += 1

    with Closing() as provider:
        assert provider.closed == 0
    assert provider.closed == 1
    assert repr(provider) == "<Closing>"
    assert BaseProvider().close() is None


def test_metadata_has_defaults():
    """What a backend does not tell is None or empty, and descriptions do not share their tags."""
    one, other = SecretMetadata("a", "1"), SecretMetadata("a", "1")
    assert (one.created_at, one.updated_at, one.tags) == (None, None, {})
    assert one.tags is not other.tags
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert SecretVersion("1", now, "current") == SecretVersion("1", now, "current")


@pytest.mark.parametrize("value", [None, b"bytes", 5])
def test_what_is_no_text_is_not_handed_on(value):
    class Odd(Stranger):
        def get_secret(self, key):
            return value

    with pytest.raises(StrongroomError, match=f"returned a {type(value).__name__}, not text"):
        guard(Odd()).get_secret("k")


NOW = datetime(2026, 1, 1, tzinfo=UTC)
WRONG_ANSWERS = [
    ("list_secrets", ("",), "text"),
    ("list_secrets", ("",), None),
    ("get_secrets", (["k"],), None),
    ("get_secrets", (["k"],), "text"),
    ("get_secrets", (["k"],), {"k": None}),
    ("get_secrets", (["k"],), {"k": "v", "other": "not asked for"}),
    ("describe_secret", ("k",), None),
    ("describe_secret", ("k",), {"version": "1"}),
    ("describe_secret", ("k",), SecretMetadata("k", 1)),
    ("describe_secret", ("k",), SecretMetadata("k", "1", NOW.replace(tzinfo=None))),
    ("describe_secret", ("k",), SecretMetadata("k", "1", NOW, "2026-01-01")),
    ("describe_secret", ("k",), SecretMetadata("k", "1", NOW, NOW, None)),
    ("describe_secrets", (["k"],), [SecretMetadata("k", "1")]),
    ("describe_secrets", (["k"],), {"k": "1"}),
    ("describe_secrets", (["k"],), {"other": SecretMetadata("other", "1")}),
    ("list_versions", ("k",), None),
    ("list_versions", ("k",), ["1"]),
    ("list_versions", ("k",), [SecretVersion(1, NOW, "current")]),
    ("list_versions", ("k",), [SecretVersion("1", NOW.replace(tzinfo=None), "current")]),
    ("set_secret_if", ("k", "v", None), None),
    ("stage_secret", ("k", "v"), 5),
    ("issue_lease", ("k",), None),
]


@pytest.mark.parametrize(("method", "arguments", "answer"), WRONG_ANSWERS)
def test_a_wrong_answer_of_a_stranger_is_not_handed_on(method, arguments, answer):
    class Wrong(Stranger):
        pass

    for name in (name for names in CAPABILITIES.values() for name in names):
        setattr(Wrong, name, lambda _self, *_: answer)
    Wrong.list_secrets = lambda _self, _prefix: answer
    with pytest.raises(StrongroomError, match=f"Wrong: .*{method} returned") as caught:
        getattr(guard(Wrong()), method)(*arguments)
    assert "other" not in str(caught.value)


def test_a_description_has_the_key_that_was_asked_for():
    class Native(Stranger):
        def describe_secret(self, key):
            return SecretMetadata(f"native-{key}", "1", NOW, NOW)

    assert guard(Native()).describe_secret("k") == SecretMetadata("k", "1", NOW, NOW)


class HeedsNoPrefix(Stranger):
    """Lists everything, whatever is asked for, and some of it twice."""

    def list_secrets(self, prefix=""):
        return [*self.kept, *self.kept, "", "../above"]


def test_what_a_stranger_lists_beyond_the_prefix_is_left_out():
    provider = HeedsNoPrefix()
    provider.kept = dict.fromkeys(["b", "a/1", "a/2"], "v")
    assert guard(provider).list_secrets("a/") == ["a/1", "a/2"]
    assert guard(provider).list_secrets() == ["a/1", "a/2", "b"]


@pytest.mark.parametrize("guarded", [True, False])
def test_no_tenant_sees_names_of_others_behind_a_stranger(guarded):
    """Names are shortened by the tenant's prefix: those of another tenant would look like the tenant's own."""

    class Ours(BaseProvider, HeedsNoPrefix):
        def get_secrets(self, keys):
            return {**dict.fromkeys(keys, "v"), "tenants/acme/b": "of acme"}

        def describe_secrets(self, keys):
            return {key: SecretMetadata(key, "1") for key in self.kept}

    provider = HeedsNoPrefix() if guarded else Ours()
    provider.kept = {"tenants/acme/a": "of acme", "tenants/corp/b": "of corp"}
    tenant = TenantSecretProvider(provider)
    with TenantContext("corp"):
        assert set(tenant.list_secrets()) == {"b"}
        if not guarded:
            assert tenant.get_secrets(["b"]) == {"b": "v"}
            assert list(tenant.describe_secrets(["b"])) == ["b"]


@pytest.mark.parametrize("error", [RuntimeError, SystemExit, KeyboardInterrupt])
def test_a_change_reaches_every_subscriber_whatever_one_of_them_raises(error, caplog):
    """An interrupt or exit of the main thread, as by a signal, reaches it once all have heard."""
    heard = []

    def fail(changes):
        raise error("s3cret")

    provider = MemorySecretProvider()
    provider.subscribe_changes(fail)
    provider.subscribe_changes(lambda changes: heard.append([one.key for one in changes]))
    with nullcontext() if error is RuntimeError else pytest.raises(error):
        provider.set_secret("a", "1")
    assert heard == [["a"]]
    if error is RuntimeError:
        assert f"a callback of subscribe_changes failed: {error.__name__}" in caplog.text
    assert "s3cret" not in caplog.text
    with nullcontext() if error is RuntimeError else pytest.raises(error):
        provider.set_secret("b", "1")
    assert heard == [["a"], ["b"]]


def test_a_change_reaches_every_subscriber_though_one_ends_its_thread(caplog):
    heard = []

    def exit_thread(changes):
        raise SystemExit

    provider = MemorySecretProvider()
    provider.subscribe_changes(exit_thread)
    provider.subscribe_changes(lambda changes: heard.append([one.key for one in changes]))
    wrote = threading.Event()
    thread = threading.Thread(target=lambda: (provider.set_secret("a", "1"), wrote.set()))
    thread.start()
    thread.join()
    assert wrote.is_set()
    assert heard == [["a"]]
    assert "a callback of subscribe_changes failed: SystemExit" in caplog.text


def test_an_interrupt_of_a_write_keeps_no_later_change_from_subscribers():
    heard = []
    provider = MemorySecretProvider()
    provider.subscribe_changes(heard.extend)
    for number, _ in enumerate(interrupted(lambda: provider.set_secret("a", "1"), 100)):
        provider.set_secret("b", str(number))
        assert heard[-1].key == "b"
