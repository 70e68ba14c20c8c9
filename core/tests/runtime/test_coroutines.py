"""A coroutine function where a plain one is called would do nothing, and nobody would hear of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from types import SimpleNamespace

import pytest
from strongroom import (
    AESGCMEncryption,
    BaseProvider,
    CachingMiddleware,
    EncryptionMiddleware,
    HierarchicalSecretCache,
    Lease,
    SecretHook,
    SecretProviderRegistry,
    SecretRotation,
)
from strongroom.backends import MemorySecretProvider
from strongroom.cache import MemoryCacheStore
from strongroom.errors import PermissionDeniedError, RotationError
from strongroom.hooks import BatchHook
from strongroom.runtime.coroutines import is_async


async def asynchronous(*_):
    return False


class Callable:
    async def __call__(self, *_):
        return False


SPEC = {"version": 1, "pipelines": {"m": {"provider": {"type": "memory"}}}}
FORMS = [asynchronous, partial(asynchronous, 1), Callable(), Callable().__call__]


@pytest.fixture
def registry():
    with SecretProviderRegistry(SPEC) as made:
        yield made


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_one_is_known(form):
    assert is_async(form)


@pytest.mark.parametrize(
    "form", [print, lambda: None, partial(print), len, MemorySecretProvider, object(), None]
)
def test_what_is_none_is_not_taken_for_one(form):
    assert not is_async(form)


def test_a_hook_that_would_veto_nothing_is_refused(registry):
    class Hook(SecretHook):
        async def before(self, event):
            raise PermissionDeniedError("no")

    with pytest.raises(TypeError, match="Hook: before is a coroutine function"):
        registry.add_hook(Hook())
    registry.set_secret("k", "v")  # it is not there in part


@pytest.mark.parametrize(
    "method", ["before_all", "after_all", "registry_opened", "registry_closing", "diagnose"]
)
def test_an_audit_hook_that_would_record_nothing_is_refused(registry, method):
    hook = type("Hook", (BatchHook,), {method: asynchronous})()
    with pytest.raises(TypeError, match=f"Hook: {method} is a coroutine function"):
        registry.add_hook(hook)


@pytest.mark.parametrize(
    "method", ["get_secret", "set_secret", "delete_secret", "list_secrets", "set_secrets"]
)
@pytest.mark.parametrize("bases", [(dict,), (dict, BaseProvider)])
def test_a_provider_that_would_store_nothing_is_refused(registry, method, bases):
    kept = {"get_secret": dict.get, "set_secret": dict.__setitem__, "delete_secret": dict.pop}
    methods = {**kept, "list_secrets": dict.keys, "set_secrets": dict.update, method: asynchronous}
    with pytest.raises(TypeError, match=f"Own: {method} is a coroutine function"):
        registry.register("own", type("Own", bases, methods)())


def test_a_watch_and_a_lease_that_would_tell_nobody_are_refused(registry):
    with pytest.raises(TypeError, match="watch: callback is a coroutine function"):
        registry.watch("k", asynchronous)

    class Leasing(dict):
        get_secret = set_secret = delete_secret = list_secrets = dict.get
        renew_lease = revoke_lease = dict.get

        def issue_lease(self, key):
            now = datetime.now(UTC)
            return Lease("1", key, {"password": "p"}, now, now + timedelta(hours=1), renewable=False)

    registry.register("leasing", Leasing(), prefix="l/")
    with pytest.raises(TypeError, match="lease: callback is a coroutine function"):
        registry.lease("l/x").subscribe(asynchronous)


@pytest.mark.parametrize("name", ["generator", "apply", "verify", "on_event"])
@pytest.mark.parametrize("form", FORMS)
def test_a_rotation_that_would_change_nothing_is_refused(name, form):
    with pytest.raises(TypeError, match=f"rotation: {name} is a coroutine function"):
        SecretRotation(MemorySecretProvider(), **{name: form})


@pytest.mark.parametrize("name", ["generator", "apply", "verify", "on_event", "clock"])
def test_a_rotation_of_what_is_no_function_does_not_begin(name):
    """Else it would be in flight before that shows."""
    with pytest.raises(TypeError, match=f"rotation: {name}.* must be a function, got a str"):
        SecretRotation(MemorySecretProvider(), **{name: "text"})


@pytest.mark.parametrize("lock", ["text", lambda _: None, SimpleNamespace(lock="text")])
def test_a_rotation_with_what_is_no_lock_does_not_begin(lock):
    with pytest.raises(TypeError, match=r"rotation: a \w+ is not a lock: it needs the method lock"):
        SecretRotation(MemorySecretProvider(), lock=lock)


def test_a_rotation_with_the_class_of_a_rotator_does_not_begin():
    class Rotator:
        def apply(self, key, old, new): ...

        def verify(self, key, new): ...

    with pytest.raises(TypeError, match="Rotator is a class, and an object of it is needed"):
        SecretRotation(MemorySecretProvider(), rotator=Rotator)


class Awaited:
    """What a plain function may return that calls a coroutine function."""

    def __await__(self):
        yield


@pytest.mark.parametrize("name", ["apply", "verify"])
def test_a_step_whose_result_nobody_awaits_has_not_been_done(name):
    memory = MemorySecretProvider(secrets={"k": "old"})
    rotation = SecretRotation(memory, **{name: lambda *_: Awaited()})
    with pytest.raises(RotationError, match=f"{name} failed: it returned a Awaited, which nobody awaits"):
        rotation.rotate("k", "new")
    assert memory.get_secret("k") == "old"
    assert rotation.rollback("k").state == "rolled_back" if name == "apply" else True


CLASSES = {
    "middleware": (MemorySecretProvider, CachingMiddleware),
    "registered": (MemorySecretProvider, lambda given: SecretProviderRegistry(SPEC).register("own", given)),
    "rotation": (MemorySecretProvider, SecretRotation),
    "lock": (MemoryCacheStore, lambda given: SecretRotation(MemorySecretProvider(), lock=given)),
    "hook": (SecretHook, lambda given: SecretProviderRegistry(SPEC).add_hook(given)),
    "cipher": (AESGCMEncryption, lambda given: EncryptionMiddleware(MemorySecretProvider(), given)),
    "cache": (MemoryCacheStore, lambda given: HierarchicalSecretCache(l2=given)),
}


@pytest.mark.parametrize("what", CLASSES)
def test_a_class_is_refused_where_an_object_of_it_is_needed(what):
    """It has the methods, and each call would fail: a cache's second level in silence."""
    given, use = CLASSES[what]
    with pytest.raises(TypeError, match=rf"{given.__name__} is a class, .* write {given.__name__}\(…\)"):
        use(given)


def test_a_class_that_needs_no_object_is_as_good_as_one():
    class Fixed:
        get_secret = staticmethod(lambda _: "value")
        set_secret = delete_secret = list_secrets = staticmethod(print)

    assert CachingMiddleware(Fixed).get_secret("k") == "value"
