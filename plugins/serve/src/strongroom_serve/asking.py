"""The client of a request: who it is, its tenant, and how the registry is called for it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NoReturn, TypeVar

from strongroom import TenantContext
from strongroom.aio import AsyncSecretRegistry
from strongroom.errors import PermissionDeniedError, StrongroomError, UnsupportedOperationError
from strongroom.hooks import acting_as
from strongroom.keys import ROTATION_SEGMENT, is_reserved
from strongroom.providers import SecretMetadata, SecretVersion

from strongroom_serve.clients import Clients
from strongroom_serve.config import Client, ServeConfig
from strongroom_serve.numbers import VersionNumbers

__all__ = ["NOBODY", "PATIENCE_SECONDS", "Asker", "Backend", "Records", "plain_key", "record_refusal"]

T = TypeVar("T")
_THREADS = 64
PATIENCE_SECONDS = 20.0
"""How long what nobody waits for any more may take, such as a rotation, before its registry is closed."""
NOBODY = "unknown"
"""The actor of a request without a good token."""


class Backend:
    """The result of one reading of the spec: the registry, the clients, and the version numbers."""

    def __init__(self, registry: Any, config: ServeConfig) -> None:
        self.sync = registry
        self.config = config
        self._registries: dict[str, AsyncSecretRegistry] = {}
        self._past_caches: dict[str, tuple[Any, Any]] = {}
        self.clients = Clients(config.clients)
        self.numbers = VersionNumbers()
        self.requests = 0
        """The requests under way; after a new reading, this one is closed after the last of them."""
        self.listings: dict[Any, asyncio.Future[None]] = {}
        self._calls = 0
        self._call_ended = threading.Condition()

    def registry_of(self, key: str) -> AsyncSecretRegistry:
        """Return what asks for `key`, with threads of its pipeline."""
        pipeline = self.sync.assembled_pipeline(key)
        return self.threads_of("" if pipeline is None else pipeline.name)

    def threads_of(self, pipeline: str) -> AsyncSecretRegistry:
        """Return what asks a pipeline: each has its own threads, so a slow one holds up no other.

        Args:
            pipeline: Its name; "" for the threads of what is of no pipeline alone.
        """
        found = self._registries.get(pipeline)
        if found is None:
            found = self._registries[pipeline] = AsyncSecretRegistry(self.sync, max_threads=_THREADS)
        return found

    async def past_caches(self, key: str) -> Any:
        """Return what answers `key` without hooks and caches: no client asked, and no cache is to forget."""
        pipeline = self.sync.assembled_pipeline(key)
        if pipeline is None:
            pipeline = await self.in_thread(lambda: self.sync.pipeline_for(key))
        from strongroom.rotation import without_value_middleware  # most requests have no use for it

        known = self._past_caches.get(pipeline.name)
        if known is None or known[0] is not pipeline:
            known = self._past_caches[pipeline.name] = (pipeline, without_value_middleware(pipeline))
        return known[1]

    async def in_thread(self, call: Callable[[], T], threads: AsyncSecretRegistry | None = None) -> T:
        """Run `call` in the context of the caller on one of `threads`, or of those of no pipeline."""

        def counted() -> T:
            try:
                return call()
            finally:
                with self._call_ended:
                    self._calls -= 1
                    self._call_ended.notify_all()

        with self._call_ended:
            self._calls += 1
        return await (threads or self.threads_of("")).run_in_thread(counted)

    async def fail(self, operation: str, key: str, error: StrongroomError) -> NoReturn:
        """Raise `error` as the outcome of an operation that hooks see."""
        pipeline = await self.in_thread(lambda: self.sync.pipeline_for(key))

        def fail() -> None:
            raise error

        await self.in_thread(lambda: pipeline.run_with_hooks(operation, key, fail))
        raise error

    def close(self, seconds: float = PATIENCE_SECONDS) -> None:
        """Close the registry; calls that nobody waits for any more have so many seconds to end."""
        with self._call_ended:
            self._call_ended.wait_for(lambda: not self._calls, seconds)
        self.sync.close()

    async def end_threads(self) -> None:
        """Let idle threads end at once, after `close`."""
        for one in self._registries.values():
            await one.close()


class Asker:
    """A known client, and how it asks.

    Attributes:
        client: Who it is.
        tenant: The tenant that it acts for.
        exact: Whether it wants texts as they are, even if they are JSON, as strongroom's `vault` provider
            does.
    """

    __slots__ = ("client", "exact", "tenant")

    def __init__(self, client: Client, tenant: str | None, *, exact: bool = False) -> None:
        self.client, self.tenant, self.exact = client, tenant, exact

    def may(self, operation: str) -> bool:
        """Return whether the client has the operation."""
        return operation in self.client.operations

    def acting(self) -> AbstractContextManager[object]:
        """Run the block as the client, for its tenant."""
        name = self.client.name
        return acting_as(name) if self.tenant is None else _acting_for(name, self.tenant)


@contextmanager
def _acting_for(name: str, tenant: str) -> Iterator[None]:
    with acting_as(name), TenantContext(tenant):
        yield


def plain_key(key: str) -> str:
    """Return the key whose rules count for `key`; for the state of a rotation, that of its secret."""
    if not is_reserved(key):
        return key
    return "/".join(segment for segment in key.split("/") if segment != ROTATION_SEGMENT)


class Records:
    """The state of rotations, which is stored beside secrets, for rotators that use this server.

    It has the registry's methods, without caches and rules for values, as for a rotation in this process.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def get_secret(self, key: str) -> str:
        found: str = await self._run("get", "get_secret", key)
        return found

    async def set_secret(self, key: str, value: str) -> None:
        await self._run("set", "set_secret", key, value)

    async def set_secret_if(self, key: str, value: str, expected: str | None) -> str:
        version: str = await self._run("set", "set_secret_if", key, value, expected)
        return version

    async def delete_secret(self, key: str) -> None:
        await self._run("delete", "delete_secret", key)

    async def describe_secret(self, key: str) -> SecretMetadata:
        metadata: SecretMetadata = await self._run("describe", "describe_secret", key)
        return metadata

    async def list_versions(self, key: str) -> list[SecretVersion]:
        found: list[SecretVersion] = await self._run("history", "list_versions", key)
        return found

    async def get_secret_version(self, key: str, version: str) -> str:
        found: str = await self._run("get", "get_secret_version", key, version)
        return found

    async def invalidate(self, key: str) -> None:
        """Do nothing: no cache answers for these."""

    async def _run(self, operation: str, method: str, key: str, *given: Any) -> Any:
        from strongroom.rotation import without_value_middleware

        def call() -> Any:
            pipeline = self._backend.sync.pipeline_for(key)
            able = getattr(without_value_middleware(pipeline), method, None)
            if able is None:
                raise UnsupportedOperationError(f"the pipeline has no {operation}", key=key)
            return pipeline.run_with_hooks(operation, key, lambda: able(key, *given))

        return await self._backend.in_thread(call, self._backend.registry_of(key))


def record_refusal(registry: Any, operation: str, key: str, error: StrongroomError | None = None) -> None:
    """Have the hooks see an operation that was refused: by `error`, or as denied by a rule."""

    def refuse() -> None:
        raise error or PermissionDeniedError("serve: the client's rules refuse it", key=key)

    try:
        registry.pipeline_for(key).run_with_hooks(operation, key, refuse)
    except Exception:  # noqa: BLE001  # of a hook of anybody's, too
        return  # as it was raised above; or there is no pipeline to watch, or no trail: refused all the same
