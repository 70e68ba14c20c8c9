"""What holds connections, locks or values is neither pickled nor copied, and says what to do instead."""

from __future__ import annotations

import copy
import multiprocessing
import pickle

import pytest
from strongroom import SecretProviderRegistry
from strongroom.aio import AsyncSecretRegistry
from strongroom.audit.hook import AuditLoggingHook
from strongroom.encryption import FernetEncryption, generate_key
from strongroom.integrations.pydantic_settings import LazySecret
from strongroom.middleware import PrefixMiddleware
from strongroom.providers import BaseProvider, guard
from strongroom.rotation import SecretRotation
from strongroom_env.provider import EnvSecretProvider
from strongroom_memory import MemorySecretProvider

VALUE = "hunter2-hunter2"
SPEC = {
    "version": 1,
    "pipelines": {
        "app": {
            "provider": {"type": "memory"},
            "middleware": [
                {"type": "read-only"},
                {"type": "retry"},
                {"type": "caching", "ttl_seconds": 60},
                {"type": "validation", "min_length": 1},
            ],
        }
    },
    "default": "app",
}


class Duck:
    """A provider that knows nothing of ours."""

    def get_secret(self, key):
        raise KeyError(key)

    def set_secret(self, key, value):
        pass

    delete_secret = get_secret

    def list_secrets(self, prefix=""):
        return []


@pytest.fixture
def registry():
    with SecretProviderRegistry(SPEC) as made:
        yield made


def _layers(provider):
    while provider is not None:
        yield provider
        provider = getattr(provider, "inner", None)


def _refused(thing):
    for copied in (
        *(lambda to=protocol: pickle.dumps(thing, to) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)),
        lambda: copy.copy(thing),
        lambda: copy.deepcopy({"kept": [thing]}),
    ):
        with pytest.raises(TypeError) as caught:
            copied()
        said = str(caught.value)
        assert said.startswith(f"{type(thing).__name__} cannot be pickled or copied")
        assert "build the registry in the child process" in said
        assert VALUE not in said


def test_a_registry_and_all_that_it_is_made_of(registry):
    _refused(registry)
    _refused(registry.pipeline("app"))
    layers = list(_layers(registry.pipeline("app")))
    assert len(layers) >= 4
    for layer in layers:
        _refused(layer)


def test_providers_and_middleware_of_python(registry):
    memory = MemorySecretProvider()
    memory.set_secret("a", VALUE)
    for provider in (memory, EnvSecretProvider(), PrefixMiddleware(memory, "p/"), guard(Duck())):
        _refused(provider)
        _refused(provider)  # nothing was changed by the first


def test_what_stands_around_a_registry(registry):
    _refused(SecretRotation(registry))
    _refused(AsyncSecretRegistry(registry))
    _refused(AuditLoggingHook())


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_process_that_is_spawned_is_not_given_one(registry, method):
    context = multiprocessing.get_context(method)
    for given in (registry, registry.pipeline("app"), MemorySecretProvider()):
        with pytest.raises(TypeError, match="build the registry in the child process, from the same spec"):
            context.Process(target=print, args=(given,)).start()


def test_a_provider_may_know_how_to_be_pickled():
    """One of a third party that can be made again says so as any class of Python does."""
    assert pickle.loads(pickle.dumps(Simple("x"))).name == "x"


class Simple(BaseProvider):
    def __init__(self, name):
        self.name = name

    def __reduce__(self):
        return Simple, (self.name,)


def test_settings_with_a_lazy_secret_are_copied_and_not_pickled():
    """A copy reads as the settings do; a pickle would hold the way to the value."""
    lazy = LazySecret(lambda: VALUE)
    assert copy.deepcopy([lazy])[0].get_secret_value() == VALUE
    with pytest.raises(TypeError, match=r"LazySecret .*make the settings in the other process") as caught:
        pickle.dumps({"a": lazy})
    assert VALUE not in str(caught.value)


def test_a_cipher_tells_of_its_key_file():
    with pytest.raises(TypeError, match="FernetEncryption holds a key and cannot be pickled"):
        pickle.dumps(FernetEncryption(generate_key()))
