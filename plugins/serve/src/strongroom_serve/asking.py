"""One request as the rest sees it: who asks, for what tenant, and how the registry is asked on its behalf."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any, TypeVar

from strongroom import TenantContext
from strongroom.aio import AsyncSecretRegistry
from strongroom.errors import PermissionDeniedError, StrongroomError
from strongroom.hooks import acting_as

from strongroom_serve.clients import Clients
from strongroom_serve.config import Client, ServeConfig
from strongroom_serve.numbers import VersionNumbers

__all__ = ["Asker", "Backend"]

T = TypeVar("T")
_THREADS = 64
NOBODY = "unknown"
"""The actor of a request without a good token."""


class Backend:
    """What one reading of the spec came to: the registry, the clients, and the numbers given so far."""

    def __init__(self, registry: Any, config: ServeConfig) -> None:
        self.sync = registry
        self.config = config
        self.registry = AsyncSecretRegistry(registry, max_threads=_THREADS)
        self.clients = Clients(config.clients)
        self.numbers = VersionNumbers()
        self.requests = 0
        """Those under way; a reading that was replaced is closed after the last of them."""
        self.listings: dict[Any, asyncio.Future[None]] = {}
        self._threads = ThreadPoolExecutor(_THREADS, "strongroom-serve")

    async def in_thread(self, call: Callable[[], T]) -> T:
        """Run `call` on a thread, in the context of the caller."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, copy_context().run, call)

    def close(self) -> None:
        """Close the registry; nothing may be under way."""
        self._threads.shutdown()
        self.sync.close()


@dataclass(frozen=True, slots=True)
class Asker:
    """A client that is known, and the tenant that it acts for."""

    client: Client
    tenant: str | None

    def may(self, operation: str) -> bool:
        """Tell whether the client has the operation."""
        return operation in self.client.operations

    @contextmanager
    def acting(self) -> Iterator[None]:
        """Do what is in the block as the client, for its tenant."""
        tenant = TenantContext(self.tenant) if self.tenant is not None else nullcontext()
        with acting_as(self.client.name), tenant:
            yield


def record_refusal(registry: Any, operation: str, key: str) -> None:
    """Let the hooks see an operation that a rule refused, as one that was denied."""

    def refuse() -> None:
        raise PermissionDeniedError("serve: the client's rules refuse it", key=key)

    try:
        registry.pipeline_for(key).watched(operation, key, refuse)
    except StrongroomError:
        return  # as it was raised above; or there is no pipeline to watch, or no trail: refused all the same
