"""Batches through a cache: an error belongs to the key that it names, and to no other."""

from __future__ import annotations

import asyncio
import threading

import pytest
from cache_support import Clock
from strongroom import CachingMiddleware, HierarchicalSecretCache, SecretCache, SecretProviderRegistry
from strongroom.aio import AsyncSecretRegistry
from strongroom.cache import MemoryCacheStore
from strongroom.cache.single_flight import FetchResult
from strongroom.encryption import AESGCMEncryption
from strongroom.errors import (
    AuthenticationError,
    BackendUnavailableError,
    DecryptionError,
    PermissionDeniedError,
    SecretNotFoundError,
    StrongroomError,
)
from strongroom_memory import MemorySecretProvider

KEY = "a passphrase for these tests"


def gone(key: str, reason: str) -> StrongroomError:
    return SecretNotFoundError(key, reason=reason)  # type: ignore[arg-type]  # one of its own


KINDS = {
    "disabled": lambda key: gone(key, "disabled"),
    "deleted": lambda key: gone(key, "deleted"),
    "destroyed": lambda key: gone(key, "destroyed"),
    "denied": lambda key: PermissionDeniedError("no", key=key),
    "undecryptable": lambda key: DecryptionError("another key", key=key),
}


class Service:
    """A provider whose batch raises for the first key that has a fault, as gcp's and azure's do."""

    def __init__(self, **values: str) -> None:
        self.values = values
        self.faults: dict[str, Exception] = {}
        self.batches: list[list[str]] = []
        self.singles: list[str] = []
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Semaphore(0)

    def get_secret(self, key):
        self.singles.append(key)
        return self._value(key)

    def _value(self, key):
        if key in self.faults:
            raise self.faults[key]
        if key not in self.values:
            raise SecretNotFoundError(key)
        return self.values[key]

    def get_secrets(self, keys):
        asked = list(keys)
        self.batches.append(asked)
        self.entered.release()
        self.gate.wait(300)
        for key in asked:
            if key in self.faults:
                raise self.faults[key]
        return {key: self.values[key] for key in asked if key in self.values}

    def set_secret(self, key, value):
        self.values[key] = value

    def delete_secret(self, key):
        del self.values[key]

    def list_secrets(self, prefix=""):
        return sorted(key for key in self.values if key.startswith(prefix))


@pytest.fixture
def service():
    return Service(a="value-a", b="value-b", c="value-c")


@pytest.fixture(params=["one level", "two levels"])
def cached(service, request, clock):
    l2 = MemoryCacheStore() if request.param == "two levels" else None
    return CachingMiddleware(
        service, 10, l2=l2, negative_ttl_seconds=60, stale_if_error_seconds=3600, clock=clock
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_of_one_key_raises_and_is_remembered_for_no_other(kind, cached, service):
    service.faults["b"] = KINDS[kind]("b")
    with pytest.raises(type(service.faults["b"])) as caught:
        cached.get_secrets(["a", "b", "c"])
    assert caught.value.key == "b"
    assert [cached.get_secret(key) for key in "ac"] == ["value-a", "value-c"]
    assert cached.get_secrets(["a", "c"]) == {"a": "value-a", "c": "value-c"}
    del service.faults["b"]
    assert cached.get_secret("b") == "value-b"  # only absence is remembered


@pytest.mark.parametrize("kind", KINDS)
def test_it_takes_no_stale_value_from_the_others(kind, cached, service, clock):
    cached.get_secrets(["a", "b"])
    clock.pass_by(11)
    service.faults["b"] = KINDS[kind]("b")
    with pytest.raises(StrongroomError):
        cached.get_secrets(["a", "b"])
    service.faults = {key: BackendUnavailableError("down") for key in "ab"}
    assert cached.get_secret("a") == "value-a"
    if kind != "undecryptable":  # that is not an answer about what may be read
        with pytest.raises(BackendUnavailableError):
            cached.get_secret("b")


@pytest.mark.parametrize("kind", KINDS)
def test_who_waits_for_another_key_of_the_batch_gets_that_key_s_own_answer(kind, cached, service):
    service.faults["b"] = KINDS[kind]("b")
    service.gate.clear()
    outcomes: dict[str, object] = {}

    def read(name, call):
        try:
            outcomes[name] = call()
        except StrongroomError as error:
            outcomes[name] = error

    batch = threading.Thread(target=read, args=("batch", lambda: cached.get_secrets(["a", "b"])))
    batch.start()
    assert service.entered.acquire(timeout=300)
    others = [
        threading.Thread(target=read, args=("a", lambda: cached.get_secret("a"))),
        threading.Thread(target=read, args=("ac", lambda: cached.get_secrets(["a", "c"]))),
    ]
    for one in others:
        one.start()
    service.gate.set()
    for one in (batch, *others):
        one.join(300)
    assert outcomes["batch"].key == "b"
    assert outcomes["a"] == "value-a"
    assert outcomes["ac"] == {"a": "value-a", "c": "value-c"}


def test_so_in_an_event_loop():
    service = Service(a="value-a", b="value-b")
    service.faults["b"] = gone("b", "disabled")
    service.gate.clear()

    async def main():
        async with AsyncSecretRegistry({"version": 1, "pipelines": {}}) as registry:
            registry.register("app", CachingMiddleware(service), prefix="")
            registry.pipeline("app")
            batch = asyncio.create_task(registry.get_secrets(["a", "b"]))
            await asyncio.to_thread(service.entered.acquire, timeout=300)
            single = asyncio.create_task(registry.get_secret("a"))
            await asyncio.sleep(0)
            service.gate.set()
            assert await single == "value-a"
            with pytest.raises(SecretNotFoundError):
                await batch

    asyncio.run(main())


def test_a_batch_that_raises_for_what_is_absent_goes_on_without_it(cached, service):
    service.faults["b"] = SecretNotFoundError("b")
    assert cached.get_secrets(["a", "b", "c"]) == {"a": "value-a", "c": "value-c"}
    with pytest.raises(SecretNotFoundError) as caught:
        cached.get_secret("b")
    assert caught.value.key == "b"
    assert service.singles == []  # remembered as absent


@pytest.mark.parametrize(
    "error", [SecretNotFoundError("elsewhere"), PermissionDeniedError("no", key="elsewhere")]
)
def test_an_error_of_a_key_that_was_not_asked_for_reaches_the_caller_alone(error, cached, service):
    service.faults["b"] = error
    with pytest.raises(type(error)):
        cached.get_secrets(["a", "b"])
    assert cached.get_secret("a") == "value-a"


@pytest.mark.parametrize(
    "error", [AuthenticationError("not logged in", key="b"), PermissionDeniedError("no")]
)
def test_what_refuses_everybody_ends_every_stale_value(error, cached, service, clock):
    cached.get_secrets(["a", "b"])
    clock.pass_by(11)
    service.faults["b"] = error
    with pytest.raises(type(error)):
        cached.get_secrets(["a", "b"])
    service.faults = {"a": BackendUnavailableError("down")}
    with pytest.raises(BackendUnavailableError):
        cached.get_secret("a")


def test_absence_is_remembered_for_the_key_that_it_is_about_alone(clock):
    cache = SecretCache(negative_ttl_seconds=60, clock=clock)

    def refuse(_):
        raise SecretNotFoundError("another")

    with pytest.raises(SecretNotFoundError):
        cache.get_or_fetch("key", refuse)
    assert cache.get_or_fetch("key", lambda _: "there") == "there"


def test_the_second_level_keeps_the_others_of_a_batch_that_was_refused(clock):
    store = MemoryCacheStore(clock=clock)

    def host():
        return HierarchicalSecretCache(
            60, 300, l2=store, encryption=AESGCMEncryption(KEY), stale_if_error_seconds=600, clock=clock
        )

    first = host()
    first.read_many(["a", "b"], lambda keys: {key: FetchResult(f"value-{key}") for key in keys})
    clock.pass_by(301)

    def refuse(_):
        raise PermissionDeniedError("no", key="b")

    def down(_):
        raise BackendUnavailableError("down")

    with pytest.raises(PermissionDeniedError):
        first.read_many(["a", "b"], refuse)
    assert host().get_or_fetch("a", down) == "value-a"
    with pytest.raises(BackendUnavailableError):
        host().get_or_fetch("b", down)


@pytest.mark.parametrize("reason", ["deleted", "destroyed", "disabled"])
@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("batches", [True, False])
class TestWhatIsDeclared:
    """A registry over a service that tells what is gone from what is absent."""

    SECRETS = {  # noqa: RUF012  # the spec's own form
        "A": {"key": "a", "default": "insecure-default"},
        "B": {"key": "b", "default": "insecure-default"},
        "OPTIONAL": {"key": "b", "required": False},
        "MADE": {"key": "b", "generate": {"length": 20}},
        "COMPOSED": {"compose": "{{ OPTIONAL }}", "required": False},
        "ABSENT": {"key": "never", "default": "fallback"},
    }

    @pytest.fixture
    def registry(self, service, reason, cached, batches):
        service.faults["b"] = gone("b", reason)
        provider = service
        if not batches:

            class Single:
                get_secret, set_secret = service.get_secret, service.set_secret
                delete_secret, list_secrets = service.delete_secret, service.list_secrets

            provider = Single()
        made = SecretProviderRegistry({"version": 1, "pipelines": {}, "secrets": self.SECRETS})
        made.register("app", CachingMiddleware(provider, clock=Clock()) if cached else provider, prefix="")
        return made

    def test_a_batch_raises(self, registry, reason):
        with pytest.raises(SecretNotFoundError) as caught:
            registry.get_secrets(["a", "b", "c"])
        assert (caught.value.key, caught.value.reason) == ("b", reason)

    def test_no_default_stands_in_for_it(self, registry, reason):
        from strongroom.declarations.resolve import resolve_all

        found = resolve_all(registry, registry.plan.secrets)
        assert found["A"].value == "value-a"
        assert found["ABSENT"].value == "fallback"
        for name in ("B", "OPTIONAL", "MADE"):
            assert (found[name].status, found[name].text) == ("missing", None)
            assert reason in found[name].problem
        assert found["COMPOSED"].status == "missing"

    def test_fix_makes_nothing_over_it(self, registry, service, reason):
        from strongroom.cli.actions.check import _fixed
        from strongroom.declarations.resolve import resolve_all

        assert reason
        fixed = _fixed(registry, resolve_all(registry, registry.plan.secrets), elsewhere=())
        assert fixed["MADE"].status == "missing"
        assert service.values["b"] == "value-b"


def test_many_that_are_gone_are_all_told():
    service = Service(**{f"k{number}": "v" for number in range(20)})
    service.faults = {f"k{number}": gone(f"k{number}", "disabled") for number in range(0, 20, 2)}
    secrets = {f"S{number}": {"key": f"k{number}"} for number in range(20)}
    with SecretProviderRegistry({"version": 1, "pipelines": {}, "secrets": secrets}) as registry:
        registry.register("app", service, prefix="")
        from strongroom.declarations.resolve import resolve_all

        found = resolve_all(registry, registry.plan.secrets)
    assert [one.status for one in found.values()] == ["missing", "ok"] * 10


def test_a_default_does_not_stand_in_for_it_in_a_settings_class():
    pydantic_settings = pytest.importorskip("pydantic_settings")
    from strongroom.integrations.pydantic_settings import StrongroomSettingsSource

    service = Service(b="value-b")
    service.faults["b"] = gone("b", "disabled")
    registry = SecretProviderRegistry({"version": 1, "pipelines": {}, "secrets": {"B": {"key": "b"}}})
    registry.register("app", service, prefix="")

    class Settings(pydantic_settings.BaseSettings):
        b: str = "insecure-default"

        @classmethod
        def settings_customise_sources(cls, settings_cls, init_settings, **_):
            return init_settings, StrongroomSettingsSource(settings_cls, registry)

    with pytest.raises(SecretNotFoundError):
        Settings()


def test_memory_stays_as_it_was(clock):
    inner = MemorySecretProvider(secrets={"a": "1"})
    assert CachingMiddleware(inner, clock=clock).get_secrets(["a", "b"]) == {"a": "1"}
