"""The registry for asyncio: it answers remembered values at once, and never blocks the loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, ParamSpec, Self, TypeVar

from strongroom.cache.single_flight import Flight, NonBlockingRead, WouldBlock, non_blocking_read
from strongroom.errors import StrongroomError, of_thread
from strongroom.keys import distinct
from strongroom.middleware.caching import CachingMiddleware
from strongroom.parallel import BackgroundPool
from strongroom.registry import SecretProviderRegistry
from strongroom.registry.routing import warn_of_closing
from strongroom.runtime.pickling import ProcessBound
from strongroom.runtime.scopes import copied_context
from strongroom.tenancy import context_of

if TYPE_CHECKING:
    from strongroom.declarations.resolution import ResolvedSecrets
    from strongroom.hooks import SecretHook
    from strongroom.pipeline import Pipeline
    from strongroom.providers import SecretChange, SecretMetadata, SecretProvider, SecretVersion
    from strongroom.registry import Explanation
    from strongroom.registry.leases import LiveLease
    from strongroom.registry.watch import Watch
    from strongroom.spec.models import Spec

__all__ = ["AsyncSecretRegistry", "AsyncWatch"]

P = ParamSpec("P")
T = TypeVar("T")
_NEVER_WAIT: Final = {
    "strongroom.middleware.prefix": ("PrefixMiddleware", "StripPrefixMiddleware"),
    "strongroom.middleware.read_only": ("ReadOnlyMiddleware",),
    "strongroom.middleware.tenant": ("OneTenantMiddleware", "TenantMiddleware"),
    "strongroom.middleware.validation": ("ValidationMiddleware",),
}
"""Middleware that may be around a cache that is asked in the loop: it computes, and never waits."""
_FIRST_READ: Final = NonBlockingRead()
"""What every read begins with that has not waited for anything yet."""


class AsyncSecretRegistry(ProcessBound):
    """`SecretProviderRegistry` with coroutines: the same methods, the same errors, the same caches.

    If the cache of a pipeline has the value, a read answers in the event loop, without a thread. A read that
    must wait for a fetch awaits it, the same fetch that callers in threads wait for. If a caller is
    cancelled, the fetch continues for the others. Everything else, and all reads of pipelines with hooks or
    without a cache, runs on at most `max_threads` threads.

    Args:
        spec: See `SecretProviderRegistry`, like `profile` and `pipeline`; or a registry, which is then
            shared and not closed.
        max_threads: Calls that may run at the same time.
    """

    def __init__(
        self,
        spec: str | os.PathLike[str] | Mapping[str, Any] | Spec | SecretProviderRegistry | None = None,
        *,
        profile: str | None = None,
        pipeline: str | None = None,
        max_threads: int = 32,
    ) -> None:
        self._shared = isinstance(spec, SecretProviderRegistry)
        self._registry = (
            spec
            if isinstance(spec, SecretProviderRegistry)
            else SecretProviderRegistry(spec, profile=profile, pipeline=pipeline)
        )
        self._pool = BackgroundPool(max_threads, "strongroom-aio")
        self._meets_a_cache: dict[Pipeline, bool] = {}
        self._fresh: dict[Pipeline, Callable[[str], str | None]] = {}

    @property
    def registry(self) -> SecretProviderRegistry:
        """The registry behind this one, for callers in threads."""
        return self._registry

    async def get_secret(self, key: str) -> str:
        """Return the value of `key`; see `SecretProvider.get_secret`."""
        pipeline = self._registry.assembled_pipeline(key)
        if pipeline is not None and (fresh := self._fresh.get(pipeline)) is not None:
            value = pipeline.fresh(fresh, key)
            if value is not None:
                return value
        if pipeline is None or not self._answers_in_the_loop(pipeline):
            return await self._call(self._registry.get_secret, key)
        answer = _read_in_turn(pipeline, key, _FIRST_READ)
        if not isinstance(answer, WouldBlock):
            return answer
        context = context_of(answer.flight.tenant)  # the block of that tenant may end while this waits
        waited_for: list[Flight] = []
        while isinstance(answer, WouldBlock):
            with contextlib.suppress(TimeoutError):  # the cache raises its own error for that
                await asyncio.wait_for(answer.flight.settled(), answer.timeout)
            waited_for.append(answer.flight)
            answer = context.run(_read_in_turn, pipeline, key, NonBlockingRead(waited_for))
        return answer

    def get_secret_nowait(self, key: str) -> str | None:
        """Return the value of `key` if that takes no waiting, else None; for callers in the event loop.

        If a fetch is needed, it has begun: `get_secret` waits for it. Raises as that does.
        """
        pipeline = self._registry.assembled_pipeline(key)
        if pipeline is not None and (fresh := self._fresh.get(pipeline)) is not None:
            value = pipeline.fresh(fresh, key)
            if value is not None:
                return value
        if pipeline is None or not self._answers_in_the_loop(pipeline):
            return None
        answer = _read_in_turn(pipeline, key, _FIRST_READ)
        return None if isinstance(answer, WouldBlock) else answer

    async def get_secrets(self, keys: Iterable[str]) -> dict[str, str]:
        """Return the values of those of `keys` that exist."""
        return await self._call(self._registry.get_secrets, distinct(keys))

    async def get_field(self, key: str, field: str) -> str:
        """Return a member of a JSON secret."""
        from strongroom.declarations.json_fields import member_of

        value = await self.get_secret(key)
        try:
            return member_of(value, key, field)
        except StrongroomError as error:
            error.pipeline = self._registry.pipeline_for(key).name
            raise

    async def set_secret(self, key: str, value: str) -> None:
        """Create or replace `key`."""
        await self._call(self._registry.set_secret, key, value)

    async def set_secrets(self, values: Mapping[str, str]) -> None:
        """Write all `values`."""
        await self._call(self._registry.set_secrets, dict(values))

    async def delete_secret(self, key: str) -> None:
        """Delete `key`."""
        await self._call(self._registry.delete_secret, key)

    async def list_secrets(self, prefix: str = "") -> list[str]:
        """Return all keys that begin with `prefix`."""
        return await self._call(self._registry.list_secrets, prefix)

    async def describe_secret(self, key: str) -> SecretMetadata:
        """Return version, dates and tags of `key`."""
        return await self._call(self._registry.describe_secret, key)

    async def describe_secrets(self, keys: Iterable[str]) -> dict[str, SecretMetadata]:
        """Return version, dates and tags of those of `keys` that exist."""
        return await self._call(self._registry.describe_secrets, distinct(keys))

    async def list_versions(self, key: str) -> list[SecretVersion]:
        """Return the versions of `key`, newest first."""
        return await self._call(self._registry.list_versions, key)

    async def get_secret_version(self, key: str, version: str) -> str:
        """Return the value that `key` had in `version`."""
        return await self._call(self._registry.get_secret_version, key, version)

    async def set_secret_if(self, key: str, value: str, expected_version: str | None) -> str:
        """Write over the version that the caller has seen, and return the new one."""
        return await self._call(self._registry.set_secret_if, key, value, expected_version)

    async def stage_secret(self, key: str, value: str) -> str:
        """Store a version that readers do not get yet, and return its id."""
        return await self._call(self._registry.stage_secret, key, value)

    async def promote_version(self, key: str, version: str, *, expected_version: str | None) -> None:
        """Make `version` the current one if `expected_version` still is."""
        await self._call(self._registry.promote_version, key, version, expected_version=expected_version)

    async def discard_version(self, key: str, version: str) -> None:
        """Drop a staged version."""
        await self._call(self._registry.discard_version, key, version)

    def watch(self, keys: str | Iterable[str], *, poll_seconds: float = 30.0) -> AsyncWatch:
        """Return an iterator over changes to `keys`; see the registry's `watch`.

        ```python
        async with registry.watch("app/") as changes:
            async for batch in changes:
                ...
        ```
        """
        return AsyncWatch(self, keys, poll_seconds)

    async def lease(self, key: str) -> LiveLease:
        """Return a handle on the live lease of `key`, which is issued if there is none yet.

        Its members answer at once, unless the lease has ended and another one must be issued.
        """
        return await self._call(self._registry.lease, key)

    async def invalidate(self, key: str) -> None:
        """Forget what is remembered of `key` for the active tenant, in every level; see the registry's."""
        await self._call(self._registry.invalidate, key)

    async def resolve(self, group: str | None = None) -> ResolvedSecrets:
        """Return what `secrets:` declares, typed and checked."""
        return await self._call(self._registry.resolve, group)

    def declared_keys(self, group: str | None = None) -> list[str]:
        """Return the keys of what `secrets:` declares, for `watch`."""
        return self._registry.declared_keys(group)

    def add_hook(self, hook: SecretHook) -> None:
        """Let `hook` see every operation; it is called in the thread that the operation runs in."""
        self._registry.add_hook(hook)

    def register(self, name: str, provider: SecretProvider, *, prefix: str | None = None) -> None:
        """Add a provider made in Python as the pipeline `name`."""
        self._registry.register(name, provider, prefix=prefix)

    def pipeline(self, name: str) -> Pipeline:
        """Return the pipeline `name`, for callers in threads."""
        return self._registry.pipeline(name)

    def pipelines(self) -> list[str]:
        """Return the names of all pipelines."""
        return self._registry.pipelines()

    def explain(self, key: str) -> Explanation:
        """Return how `key` would be answered, without asking anybody."""
        return self._registry.explain(key)

    async def close(self) -> None:
        """Close the registry, unless it is shared; a second call is harmless."""
        try:
            if not self._shared:
                await self._call(self._registry.close)
        finally:
            self._pool.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.close()
        except Exception as failed:
            if error is None:
                raise
            warn_of_closing(failed)

    def __repr__(self) -> str:
        return f"<AsyncSecretRegistry of {self._registry!r}>"

    def _answers_in_the_loop(self, pipeline: Pipeline) -> bool:
        """Return whether a read of `pipeline` meets a cache before anything that may block."""
        meets = self._meets_a_cache.get(pipeline)
        if meets is None:
            meets = self._meets_a_cache[pipeline] = _meets_a_cache(pipeline)
            outermost = pipeline.inner
            if isinstance(outermost, CachingMiddleware) and outermost.fresh is not None:
                self._fresh[pipeline] = outermost.fresh
        return meets and not pipeline.has_hooks()

    async def run_in_thread(self, method: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a method of the registry behind this one on a thread, since it may block."""
        return await self._call(method, *args, **kwargs)

    def start_in_thread(self, call: Callable[[], object]) -> None:
        """Run `call` on a thread, and do not wait for it."""
        self._pool.start(call)

    async def _call(self, method: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a method on a thread, in the caller's context; a caller that is cancelled leaves it running."""
        loop = asyncio.get_running_loop()
        # The future holds neither: asyncio prints what a future or a handle holds, as with `debug=True`. And
        # it refuses a `StopIteration` as an error, and never ends.
        ended: asyncio.Future[None] = loop.create_future()
        results: list[T] = []
        errors: list[BaseException] = []

        def settle() -> None:
            if not ended.done():  # else it was cancelled
                ended.set_result(None)

        def run() -> None:
            try:
                results.append(method(*args, **kwargs))
            except BaseException as raised:  # noqa: BLE001  # it is raised again where it is awaited
                errors.append(of_thread(raised))
            with contextlib.suppress(RuntimeError):  # the loop of a caller that gave up may be closed
                loop.call_soon_threadsafe(settle)

        self._pool.start(partial(copied_context().run, run))
        await ended
        if errors:
            try:
                raise errors[0]
            finally:
                errors.clear()  # its traceback has this frame, which must not keep it alive
        return results[0]


class AsyncWatch(ProcessBound):
    """Lists of changes as they come: an asynchronous iterator within its `async with` block.

    It ends when the watch or the registry is closed. Changes that come faster than they are taken wait.
    """

    def __init__(self, registry: AsyncSecretRegistry, keys: str | Iterable[str], poll_seconds: float) -> None:
        self._registry = registry
        self._keys = keys if isinstance(keys, str) else list(keys)
        self._poll_seconds = poll_seconds
        self._watch: Watch | None = None
        self._batches: asyncio.Queue[list[SecretChange] | None] = asyncio.Queue()

    async def __aenter__(self) -> Self:
        if self._watch is not None:
            raise RuntimeError("a watch is entered once; make another one by `registry.watch`")
        loop = asyncio.get_running_loop()

        def put(batch: list[SecretChange] | None) -> None:
            with contextlib.suppress(RuntimeError):  # closed, without the end of the block
                loop.call_soon_threadsafe(self._batches.put_nowait, batch)

        watches: list[Watch] = []
        cancelled = threading.Event()

        def begin() -> Watch:
            watch = self._registry.registry.watch(self._keys, put, poll_seconds=self._poll_seconds)
            watches.append(watch)
            if cancelled.is_set():
                watch.close()
            return watch

        try:
            self._watch = await self._registry.run_in_thread(begin)
        except asyncio.CancelledError:  # no block will close it
            cancelled.set()
            for watch in watches:
                self._registry.start_in_thread(watch.close)
            raise
        self._watch.when_closed(partial(put, None))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._watch is not None:
            await self._registry.run_in_thread(self._watch.close)

    @property
    def alive(self) -> bool:
        """Whether it goes on."""
        return self._watch is not None and self._watch.alive

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> list[SecretChange]:
        if self._watch is None:
            raise RuntimeError("enter the watch by `async with` before you iterate")
        batch = await self._batches.get()
        if batch is None:
            self._batches.put_nowait(None)  # for a caller that asks again
            raise StopAsyncIteration
        return batch

    def __repr__(self) -> str:
        return f"<AsyncWatch of {self._watch!r}>"


def _read_in_turn(pipeline: Pipeline, key: str, mine: NonBlockingRead) -> str | WouldBlock:
    """Return the value of `key`, or what says which flight has to be awaited first."""
    token = non_blocking_read.set(mine)
    try:
        return pipeline.get_secret(key)
    except WouldBlock as suspended:
        return suspended
    finally:
        non_blocking_read.reset(token)


def _meets_a_cache(pipeline: Pipeline) -> bool:
    provider: Any = pipeline.inner
    # A module that is not loaded has no objects that could be in a pipeline.
    loaded = {sys.modules[module]: names for module, names in _NEVER_WAIT.items() if module in sys.modules}
    never_wait = tuple(getattr(module, name) for module, names in loaded.items() for name in names)
    while isinstance(provider, never_wait):
        provider = provider.inner
    # One without `fresh` keeps nothing and passes reads on: the values of a lease.
    return isinstance(provider, CachingMiddleware) and provider.fresh is not None
