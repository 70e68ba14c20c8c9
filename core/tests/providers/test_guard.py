"""The guard that lets any object with the four methods take part: rules, errors and answers."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import product

import pytest
from provider_support import Failing, Stranger
from strongroom import TenantContext, TenantSecretProvider, errors
from strongroom.errors import (
    BackendUnavailableError,
    ConflictError,
    InvalidKeyError,
    PermissionDeniedError,
    SecretNotFoundError,
    StrongroomError,
)
from strongroom.providers import (
    CAPABILITIES,
    BaseProvider,
    BatchReader,
    Describer,
    SecretMetadata,
    SecretProvider,
    SecretVersion,
    capabilities,
    guard,
)
from strongroom.testing import ProviderConformance, sampled
from strongroom.testing.sampling import together
from strongroom_memory import MemorySecretProvider


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
