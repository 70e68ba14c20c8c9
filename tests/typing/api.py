"""What type checkers make of the public surface: `make types` reads this file, nothing runs it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_type

import strongroom
from pydantic import BaseModel
from strongroom import (
    BaseProvider,
    LiveLease,
    SecretCache,
    SecretChange,
    SecretEvent,
    SecretHook,
    SecretMetadata,
    SecretProvider,
    SecretProviderRegistry,
    SecretVersion,
    Watch,
    aio,
    hookimpl,
    plugins,
)


def reads(registry: SecretProviderRegistry) -> None:
    """As the README and the tutorials read."""
    with registry as same:
        assert_type(same, SecretProviderRegistry)
    assert_type(registry.get_secret("database/password"), str)
    assert_type(registry.get_secrets(["a", "b"]), dict[str, str])
    assert_type(registry.get_field("database", "username"), str)
    assert_type(registry.list_secrets("database/"), list[str])
    assert_type(registry.describe_secret("a"), SecretMetadata)
    assert_type(registry.list_versions("a"), list[SecretVersion])
    assert_type(registry.set_secret_if("a", "1", None), str)
    assert_type(registry.resolve(), strongroom.ResolvedSecrets)


def live(registry: SecretProviderRegistry) -> None:
    """Watches and leases."""

    def changed(changes: list[SecretChange]) -> None:
        assert_type(changes[0].version, str | None)

    with registry.watch(["a", "b/"], changed) as watch:
        assert_type(watch, Watch)
    with registry.lease("app") as lease:
        assert_type(lease, LiveLease)
        assert_type(lease.values["username"], str)


async def from_asyncio() -> None:
    """The same names, awaited."""
    async with aio.AsyncSecretRegistry() as registry:
        assert_type(await registry.get_secret("a"), str)
        assert_type(await registry.get_secrets(["a"]), dict[str, str])
        async with registry.watch("a") as changes:
            async for batch in changes:
                assert_type(batch, list[SecretChange])


class Options(BaseModel):
    """What the spec may say of it."""


class Acme(BaseProvider):
    """A provider of somebody else's."""

    def get_secret(self, key: str) -> str:
        """Return a value."""
        return key

    def set_secret(self, key: str, value: str) -> None:
        """Keep a value."""

    def delete_secret(self, key: str) -> None:
        """Delete a value."""

    def list_secrets(self, prefix: str = "") -> list[str]:
        """Return keys."""
        return [prefix]


class Printing(SecretHook):
    """A hook of somebody else's."""

    def before(self, event: SecretEvent) -> None:
        """See an operation begin."""
        assert_type(event.operation, str)


@hookimpl
def strongroom_providers() -> Iterable[plugins.Plugin]:
    """Give a plugin."""
    yield plugins.Plugin(name="acme", summary="Acme's store", config=Options, factory=Acme)


provider: SecretProvider = Acme()
cache = SecretCache(ttl_seconds=60.0)
assert_type(cache.get_or_fetch("a", provider.get_secret), str)
assert_type(strongroom.__version__, str)
