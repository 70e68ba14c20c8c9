"""The end of a registry: what is closed, once, and what does not close."""

from __future__ import annotations

import asyncio
import sys
import traceback

import pytest
import strongroom
from registry_support import spec
from strongroom import SecretHook, SecretProviderRegistry
from strongroom.aio import AsyncSecretRegistry
from strongroom.errors import ConfigurationError, SecretNotFoundError, StrongroomError


def test_close_closes_everything_once_and_the_registry_is_a_context_manager(plain):
    class Closing(plain):
        closed = 0

        def close(self):
            self.closed += 1

    provider = Closing()
    with SecretProviderRegistry(spec()) as registry:
        registry.register("p", provider)
        assert "p" in repr(registry)
    registry.close()
    assert provider.closed == 1


@pytest.mark.parametrize(
    "use",
    [
        lambda registry, _: registry.get_secret("a/k"),
        lambda registry, _: registry.list_secrets(),
        lambda registry, _: registry.get_secrets(["p/k", "k"]),
        lambda registry, _: registry.pipeline("p").get_secret("p/k"),
        lambda _, kept: kept.get_secret("p/k"),
        lambda _, kept: kept.set_secret("p/k", "v"),
        lambda _, kept: kept.list_secrets(),
        lambda registry, kept: (registry.observe_values(lambda _: None), kept.get_secret("p/k")),
    ],
)
def test_what_is_used_after_close_is_closed_again(use, monkeypatch, plain):
    """It opens again what it needs: a file, a program, a lease that has to be revoked."""
    closed = []

    class Closing(plain):
        def close(self):
            closed.append("registered")

    monkeypatch.setattr(
        strongroom.backends.MemorySecretProvider, "close", lambda _: closed.append("of the spec")
    )
    registry = SecretProviderRegistry(
        spec(routes=[{"prefix": "a/", "pipeline": "app", "strip_prefix": True}])
    )
    registry.register("p", Closing(), prefix="p/")
    kept = registry.pipeline("p")
    registry.set_secrets({"a/k": "v", "p/k": "v"})
    for _ in range(2):
        registry.close()
        registry.close()
        assert closed == ["of the spec", "registered"]
        closed.clear()
        use(registry, kept)


def test_a_registry_may_be_closed_after_each_of_many_uses():
    """What waits for the next read is not put around what waits already, until a read is too deep."""
    registry = SecretProviderRegistry(spec())
    for _ in range(sys.getrecursionlimit() + 100):
        with registry:
            registry.list_secrets()
    registry.set_secret("k", "v")
    assert registry.get_secret("k") == "v"


def test_a_registry_that_was_closed_knows_what_was_registered(plain):
    registry = SecretProviderRegistry(spec())
    registry.register("p", plain(), prefix="p/")
    registry.register("q", plain())
    registry.set_secret("p/k", "v")
    registry.close()
    registry.add_hook(SecretHook())
    assert registry.get_secret("p/k") == "v"
    assert registry.pipeline("q").list_secrets() == []
    assert registry.explain("p/k").pipeline == "p"
    with pytest.raises(ConfigurationError, match="exists already"):
        registry.register("p", plain())


def test_what_fails_to_close_keeps_nothing_else_open(plain):
    """The first error is raised; the leases of another pipeline, for one, must be revoked all the same."""
    told = []

    class Failing(plain):
        def __init__(self, name):
            super().__init__()
            self.name = name

        def close(self):
            told.append(self.name)
            raise RuntimeError(self.name)

    class Refusing(SecretHook):
        def registry_closing(self, registry):
            told.append("hook")
            raise RuntimeError("hook")

    registry = SecretProviderRegistry(spec())
    registry.add_hook(Refusing())
    registry.register("p", Failing("p"))
    registry.register("q", Failing("q"), prefix="q/")
    with pytest.raises(RuntimeError, match="hook"):
        registry.close()
    assert told == ["hook", "p", "q"]


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_an_exit_or_an_interrupt_keeps_nothing_else_open_either(error, monkeypatch, plain):
    """An interrupt reaches the caller; an exit of a plugin is an error as any other."""
    closed = []

    def note(provider):
        closed.append(provider)
        if len(closed) == 1:
            raise error("hunter2")

    class Registered(plain):
        close = note

    monkeypatch.setattr(strongroom.backends.MemorySecretProvider, "close", note)
    registry = SecretProviderRegistry(
        spec(pipelines={name: {"provider": {"type": "memory"}} for name in "ab"})
    )
    for name in "cd":
        registry.register(name, Registered())
    with pytest.raises(KeyboardInterrupt if error is KeyboardInterrupt else StrongroomError):
        registry.close()
    assert len(closed) == 4


def test_a_component_that_does_not_close_is_named_without_its_text(monkeypatch):
    def fails(_):
        raise ValueError("hunter2")

    monkeypatch.setattr(strongroom.backends.MemorySecretProvider, "close", fails)
    registry = SecretProviderRegistry(spec())
    with pytest.raises(StrongroomError) as caught:
        registry.close()
    assert "MemorySecretProvider failed with ValueError as it was closed" in str(caught.value)
    assert "test_close.py:" in str(caught.value)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


def test_what_does_not_close_hides_no_error_of_the_block(monkeypatch, caplog):
    """A command's exit code, for one, follows from the error of its block."""

    def fails(_):
        raise RuntimeError("hunter2")

    async def awaited():
        async with AsyncSecretRegistry(spec()) as registry:
            await registry.get_secret("absent")

    monkeypatch.setattr(strongroom.backends.MemorySecretProvider, "close", fails)
    with pytest.raises(SecretNotFoundError), SecretProviderRegistry(spec()) as registry:
        registry.get_secret("absent")
    with pytest.raises(SecretNotFoundError):
        asyncio.run(awaited())
    assert caplog.text.count("the registry did not close: MemorySecretProvider failed with RuntimeError") == 2
    assert "hunter2" not in caplog.text
