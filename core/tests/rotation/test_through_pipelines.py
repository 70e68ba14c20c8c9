"""Rotations through pipelines: middleware, routes, fallbacks, hooks and tenants."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
from rotation_support import KEY, NAMED, NEW, OLD, Target, backend, failing, memory_with
from sampling import sample
from strongroom import (
    CachingMiddleware,
    EncryptionMiddleware,
    FernetEncryption,
    PrefixMiddleware,
    RetryMiddleware,
    SecretHook,
    SecretProviderRegistry,
    SecretRotation,
    TenantContext,
    TenantSecretProvider,
    ValidationMiddleware,
)
from strongroom.cache import MemoryCacheStore
from strongroom.errors import (
    AuditError,
    ConflictError,
    RotationError,
    SecretNotFoundError,
    StrongroomError,
    TenantContextError,
)
from strongroom.providers import guard
from strongroom_memory import MemorySecretProvider

CHAINS = {
    "caching": CachingMiddleware,
    "encryption": lambda inner: EncryptionMiddleware(inner, FernetEncryption("a passphrase of some length")),
    "prefix": lambda inner: PrefixMiddleware(inner, "app/"),
    "retry": RetryMiddleware,
    "tenant": TenantSecretProvider,
    "validation": lambda inner: ValidationMiddleware(inner, key_pattern="[a-z/]+", max_length=100),
}


@pytest.mark.parametrize("name", CHAINS)
def test_a_rotation_goes_through_each_middleware(abilities, name):
    memory = MemorySecretProvider()
    provider = CHAINS[name](backend(memory, abilities))
    with TenantContext("acme") if name == "tenant" else nullcontext():
        provider.set_secret(KEY, OLD)
        assert provider.get_secret(KEY) == OLD
        target, lock = Target(), MemoryCacheStore()
        rotation = SecretRotation(provider, apply=target.apply, verify=failing, lock=lock, grace_seconds=5)
        with pytest.raises(RotationError):
            rotation.rotate(KEY, NEW)
        assert provider.get_secret(KEY) == OLD
        rotation = SecretRotation(provider, apply=target.apply, lock=lock, grace_seconds=5)
        rotation.resume(KEY)
        assert provider.get_secret(KEY) == NEW == target.password
        rotation.rollback(KEY)
        assert provider.get_secret(KEY) == OLD == target.password


@pytest.mark.parametrize("abilities", sample(NAMED, one_in=2))
def test_all_of_a_rotation_is_encrypted(abilities):
    memory = MemorySecretProvider()
    provider = CHAINS["encryption"](backend(memory, abilities))
    provider.set_secret(KEY, OLD)
    with pytest.raises(RotationError):
        SecretRotation(provider, verify=failing, lock=MemoryCacheStore()).rotate(KEY, NEW)
    everything = repr({key: record.versions for key, record in memory._records.items()})
    texts = [v.value for record in memory._records.values() for v in record.versions.values()]
    assert len(texts) >= 2
    assert not any(OLD in text or NEW in text for text in [everything, *texts])


def test_tenants_do_not_meet_in_a_rotation():
    memory = MemorySecretProvider()
    provider = TenantSecretProvider(memory)
    for tenant in ("one", "two"):
        with TenantContext(tenant):
            provider.set_secret(KEY, f"of {tenant}")
    rotation = SecretRotation(provider, verify=failing)
    with TenantContext("one"), pytest.raises(RotationError):
        rotation.rotate(KEY, NEW)
    with TenantContext("two"):
        assert SecretRotation(provider).rotate(KEY, "newer of two").state == "current"
        assert provider.get_secret(KEY) == "newer of two"
    with TenantContext("one"):
        assert provider.get_secret(KEY) == "of one"
    with pytest.raises(TenantContextError):
        rotation.rotate(KEY)


class Recording(SecretHook):
    def __init__(self):
        self.before_events, self.events = [], []

    def before(self, event):
        self.before_events.append(event)

    def after(self, event):
        self.events.append(event)


def registry_of(**pipeline):
    spec = {
        "version": 1,
        "pipelines": {
            "app": {
                "provider": {"type": "memory", "secrets": {KEY: OLD}},
                "middleware": [{"type": "caching"}],
                **pipeline,
            },
            "other": {"provider": {"type": "memory", "secrets": {"password": OLD}}},
        },
        "default": "app",
        "routes": [{"prefix": "other/", "pipeline": "other", "strip_prefix": True}],
    }
    return SecretProviderRegistry(spec)


def test_a_registrys_hooks_see_one_rotation_and_its_caches_drop_the_key():
    hook, events = Recording(), []
    with registry_of() as registry:
        assert registry.get_secret(KEY) == OLD
        registry.add_hook(hook)
        SecretRotation(registry, on_event=events.append).rotate(KEY, NEW)
        assert [(one.operation, one.key, one.outcome, one.pipeline) for one in hook.events] == [
            ("rotate", KEY, "ok", "app")
        ]
        assert registry.get_secret(KEY) == NEW
    (event,) = events
    assert (event.operation, event.key, event.outcome, event.pipeline) == ("rotate", KEY, "ok", "app")


def test_a_stripped_route_is_rotated_under_its_whole_name():
    with registry_of() as registry:
        assert SecretRotation(registry).rotate("other/password", NEW).key == "other/password"
        assert registry.get_secret("other/password") == NEW
        assert registry.pipeline("other").get_secret("password") == NEW


def test_a_hook_can_veto_a_rotation():
    class Veto(SecretHook):
        def before(self, event):
            if event.operation == "rotate":
                raise AuditError("no")

    with registry_of() as registry:
        registry.add_hook(Veto())
        with pytest.raises(AuditError):
            SecretRotation(registry).rotate(KEY, NEW)
        assert registry.get_secret(KEY) == OLD


def test_hooks_see_that_a_record_is_forgotten_and_can_veto_it():
    """It may be the only place of a value that the target system has."""

    class Veto(Recording):
        def before(self, event):
            if event.operation == "rotate":
                raise AuditError("no")

    hook, events = Recording(), []
    with registry_of() as registry:
        rotation = SecretRotation(registry, apply=failing, on_event=events.append)
        with pytest.raises(RotationError):
            rotation.rotate(KEY)
        del events[:]
        veto = Veto()
        registry.add_hook(veto)
        with pytest.raises(AuditError):
            rotation.forget(KEY)
        assert rotation.status_of(KEY).last_error is not None
        veto.before = hook.before
        registry.add_hook(hook)
        rotation.forget(KEY)
        assert rotation.status_of(KEY).last_error is None
    assert ("rotate", KEY, "ok") in [(one.operation, one.key, one.outcome) for one in hook.events]
    assert events == []  # no rotation has ended


def test_failures_are_told_to_hooks_and_on_event():
    hook, events = Recording(), []
    with registry_of() as registry:
        registry.add_hook(hook)
        rotation = SecretRotation(registry, apply=failing, on_event=events.append)
        with pytest.raises(RotationError):
            rotation.rotate(KEY)
        with pytest.raises(ConflictError):
            rotation.rotate(KEY)
    for seen in (hook.events, events):
        assert [(one.outcome, one.error_type) for one in seen] == [
            ("error", "RotationError"),
            ("error", "ConflictError"),
        ]


def test_a_veto_is_told_to_on_event_as_one():
    class Vetoes(SecretHook):
        def before(self, event):
            raise PermissionError(event.key)

    events = []
    with registry_of() as registry:
        registry.add_hook(Vetoes())
        with pytest.raises(PermissionError):
            SecretRotation(registry, on_event=events.append).rotate(KEY)
    assert [(one.outcome, one.error_type) for one in events] == [("vetoed", "PermissionError")]


def test_errors_of_rotations_name_the_pipeline():
    """Also those of calls that are not operations themselves, and of a backend without dates."""
    spec = {"version": 1, "pipelines": {"app": {"provider": {"type": "env"}}}}
    with registry_of() as registry, SecretProviderRegistry(spec) as dateless:
        dateless.set_secret(KEY, OLD)
        for call in (
            lambda: SecretRotation(registry).status_of("none"),
            lambda: SecretRotation(registry).needs_rotation("none"),
            lambda: SecretRotation(dateless).needs_rotation(KEY),
        ):
            with pytest.raises(StrongroomError) as caught:
                call()
            assert caught.value.pipeline == "app"
        dateless.delete_secret(KEY)


def test_what_on_event_raises_does_not_hide_the_result(caplog):
    rotation = SecretRotation(memory_with(), on_event=failing)
    assert rotation.rotate(KEY).state == "current"
    assert "on_event failed after a rotation: ConnectionError" in caplog.text


def test_the_new_value_is_masked_as_what_was_read():
    seen = []
    with registry_of() as registry:
        registry.observe_values(seen.append)
        SecretRotation(registry).rotate(KEY, NEW)
    assert {OLD, NEW} <= set(seen)


@pytest.mark.parametrize(
    "outside",
    [{"type": "retry"}, {"type": "prefix", "prefix": "p/"}, {"type": "encryption", "key": "a passphrase"}],
    ids=lambda options: options["type"],
)
@pytest.mark.parametrize("inside", [{"type": "caching"}, {"type": "validation", "key_pattern": ".*"}])
def test_what_stands_outside_caching_or_validation_is_no_hindrance(outside, inside):
    spec = {
        "version": 1,
        "pipelines": {"app": {"provider": {"type": "memory"}, "middleware": [outside, inside]}},
        "routes": [{"prefix": "app/", "pipeline": "app", "strip_prefix": True}],
    }
    key = f"app/{KEY}"
    with SecretProviderRegistry(spec) as registry:
        registry.set_secret(key, OLD)
        assert registry.get_secret(key) == OLD
        with pytest.raises(RotationError):
            SecretRotation(registry, verify=failing).rotate(key, NEW)
        assert registry.get_secret(key) == OLD
        SecretRotation(registry).resume(key)
        assert registry.get_secret(key) == NEW
        assert registry.list_secrets("app/") == [key]


def test_a_cache_inside_of_a_third_partys_middleware_answers_for_nothing():
    """Otherwise the target would be told an old value that is not current any more."""

    class Plain:
        def __init__(self, inner):
            self.get_secret, self.set_secret = inner.get_secret, inner.set_secret
            self.delete_secret, self.list_secrets = inner.delete_secret, inner.list_secrets

    memory, told = MemorySecretProvider(secrets={KEY: "older"}), []
    cached = CachingMiddleware(memory)
    with SecretProviderRegistry({"version": 1, "pipelines": {}}) as registry:
        registry.register("app", guard(Plain(cached), around=cached), prefix="")
        assert registry.get_secret(KEY) == "older"
        memory.set_secret(KEY, OLD)
        rotation = SecretRotation(
            registry, apply=lambda _, old, new: told.append((old, new)), lock=MemoryCacheStore()
        )
        rotation.rotate(KEY, NEW)
        assert (told, registry.get_secret(KEY)) == ([(OLD, NEW)], NEW)


def test_a_fallback_rotates_the_first_only():
    spec = {
        "version": 1,
        "pipelines": {
            "one": {"provider": {"type": "memory", "secrets": {KEY: OLD}}},
            "two": {"provider": {"type": "memory", "secrets": {KEY: "of two", "only": "of two"}}},
            "both": {"fallback": {"pipelines": ["one", "two"], "when": ["not_found"]}},
        },
        "default": "both",
    }
    with SecretProviderRegistry(spec) as registry:
        rotation = SecretRotation(registry)
        rotation.rotate(KEY, NEW)
        assert registry.pipeline("one").get_secret(KEY) == NEW
        assert registry.pipeline("two").get_secret(KEY) == "of two"
        with pytest.raises(SecretNotFoundError):
            rotation.rotate("only")
