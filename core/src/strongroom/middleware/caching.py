"""Values remembered for a time, so that the backend is asked less and its outages are bridged."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from strongroom.cache.addresses import (
    Source,
    account_of,
    address_of,
    issues_leases,
    part_without_address,
    places_of,
    sources_of,
    type_of,
)
from strongroom.cache.secret_cache import SecretCache
from strongroom.cache.single_flight import FetchResult
from strongroom.errors import ConfigurationError, ConflictError, StrongroomError
from strongroom.keys import distinct
from strongroom.middleware.write_observer import WriteObserver
from strongroom.parallel import Take, renew_after_fork
from strongroom.providers.base import has_capability
from strongroom.tenancy import TenantContext, current_tenant

if TYPE_CHECKING:
    from strongroom.cache.hierarchical import HierarchicalSecretCache
    from strongroom.cache.options import CacheOptions
    from strongroom.cache.stats import CacheStats
    from strongroom.cache.store import CacheStore
    from strongroom.encryption.ciphers import Encryption
    from strongroom.providers import Closeable, SecretChange, SecretMetadata, SecretVersion

__all__ = ["CachingMiddleware", "make_caching_middleware"]

_FEW: Final = 1024


class CachingMiddleware(WriteObserver):
    """Answers reads from memory, and then, if one is given, from a store that processes share.

    It forgets a secret that is changed through it: by a write, a delete, a conditional write or a promotion.
    It also forgets it when a description or history shows another version than before, and after a conflict.

    Args:
        inner: The provider whose reads are cached.
        ttl_seconds: How long a value is fresh in this process.
        max_entries: See `strongroom.cache.SecretCache`, like the next five.
        negative_ttl_seconds: How long "not found" is remembered.
        stale_if_error_seconds: How long an expired value is served while the backend is unavailable.
        refresh_ahead: The last part of a value's life, in which a read starts a fetch in the background.
        jitter: By how much a life may be shortened.
        fetch_timeout_seconds: How long a caller waits for a fetch.
        l2: A `strongroom.cache.CacheStore` that processes share.
        l2_ttl_seconds: How long a value is fresh in it; without it, as long as in this process.
        encryption: What encrypts for it; without it the key in `STRONGROOM_ENCRYPTION_KEY`.
        namespace: Distinguishes backends that share a store; without it the address of `inner` does.
        l2_timeout_seconds: How long the store may take for an answer.
        offline: Answer only from `l2`, and never ask the backend; everything but a read is unavailable.
        max_age_seconds: How old a value may be that is returned while `offline`.
        due_at: Returns when a key is due for rotation: no value is fresh after that.
        clock: Monotonic seconds.

    Raises:
        ConfigurationError: A number is out of its range; a shared store has no key, or needs a `namespace`
            because `inner` has no address; `offline` or another option of `l2` is given without `l2`.
    """

    def __init__(
        self,
        inner: Any,
        ttl_seconds: float = 300,
        *,
        max_entries: int = 10_000,
        negative_ttl_seconds: float = 0,
        stale_if_error_seconds: float = 0,
        refresh_ahead: float = 0.0,
        jitter: float = 0.0,
        fetch_timeout_seconds: float | None = 60,
        l2: CacheStore | None = None,
        l2_ttl_seconds: float | None = None,
        encryption: Encryption | None = None,
        namespace: str | None = None,
        l2_timeout_seconds: float = 0.5,
        offline: bool = False,
        max_age_seconds: float | None = None,
        due_at: Callable[[str], datetime | None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(_offline(inner) if offline else inner)
        self._namespace = namespace
        self._offline = offline
        self._passes_through = issues_leases(self.inner)
        self._due_at = due_at
        self._fetch = self.inner.get_secret
        self._renamed: dict[Source, set[tuple[str | None, str]]] = {}
        self._places: frozenset[str] = frozenset()
        self._most_renamed = _FEW
        self._begin_again()
        renew_after_fork(self, CachingMiddleware._begin_again, rest=CachingMiddleware._rest)
        self.cache: SecretCache | HierarchicalSecretCache
        self._shared: HierarchicalSecretCache | None = None
        options: CacheOptions = {
            "max_entries": max_entries,
            "negative_ttl_seconds": negative_ttl_seconds,
            "stale_if_error_seconds": stale_if_error_seconds,
            "refresh_ahead": refresh_ahead,
            "jitter": jitter,
            "fetch_timeout_seconds": fetch_timeout_seconds,
            "clock": clock,
        }
        if l2 is None:
            if offline or l2_ttl_seconds is not None or max_age_seconds is not None:
                raise ConfigurationError(
                    "caching: offline, l2_ttl_seconds and max_age_seconds are for a second level",
                    hint="add `l2`, for example {type: file.cache, path: cache.db}",
                )
            self.cache = SecretCache(ttl_seconds, **options)
        else:
            from strongroom.cache.hierarchical import HierarchicalSecretCache

            self.cache = self._shared = HierarchicalSecretCache(
                ttl_seconds,
                ttl_seconds if l2_ttl_seconds is None else l2_ttl_seconds,
                l2=l2,
                encryption=encryption,
                namespace=_namespace_of(self.inner, l2) if namespace is None else namespace,
                sources=self._source_texts,
                account=account_of(self.inner),
                l2_timeout_seconds=l2_timeout_seconds,
                offline=offline,
                max_age_seconds=max_age_seconds,
                **options,
            )
        # It replaces the method: one call less on the fast path.
        self.get_secret = self.cache.reader(self._load)  # type: ignore[assignment,method-assign]  # on purpose
        self.fresh: Callable[[str], str | None] | None = self.cache.fresh
        """Returns the fresh value of a key, or None; it is None itself if nothing is remembered here."""
        if self._passes_through:
            # Values of a lease are never kept here: reading the live one is as fast.
            self.get_secret = self._fetch  # type: ignore[method-assign]  # as above
            self.fresh = None

    def address(self) -> dict[str, Any]:
        """Return nothing: it does not change which secret is read."""
        return {}

    def get_secret(self, key: str) -> str:
        raise AssertionError(key)  # each instance has the reader of its own cache

    @contextmanager
    def around_write(self, *keys: str) -> Iterator[None]:
        """Forget `keys` after the write, even if it failed: it is then not known what is stored.

        A conflict, too, means that somebody else has changed the secret.
        """
        self._online()
        self.cache.refuse_inner_write()
        try:
            with self.cache.working():
                yield
        finally:
            try:
                self._forget_all(keys)
            except BaseException:  # of a signal handler: an older value must not stay
                self._forget_all(keys)
                raise

    def list_secrets(self, prefix: str = "") -> list[str]:
        with self._asking():
            return self.inner.list_secrets(prefix)

    def get_secrets(self, keys: Iterable[str]) -> dict[str, str]:
        if self._passes_through:
            return self.inner.get_secrets(keys)
        return self.cache.read_many(distinct(keys), self._load_many)

    def describe_secret(self, key: str) -> SecretMetadata:
        with self._asking():
            metadata = self.inner.describe_secret(key)
        if self.cache.saw_version(key, metadata.version):
            self._forget(key)
        return metadata

    def describe_secrets(self, keys: Iterable[str]) -> dict[str, SecretMetadata]:
        with self._asking():
            described = self.inner.describe_secrets(keys)
        for key, metadata in described.items():
            if self.cache.saw_version(key, metadata.version):
                self._forget(key)
        return described

    def list_versions(self, key: str) -> list[SecretVersion]:
        with self._asking():
            versions = self.inner.list_versions(key)
        for version in versions:
            if version.state == "current" and self.cache.saw_version(key, version.version):
                self._forget(key)
        return versions

    def subscribe_changes(self, callback: Callable[[list[SecretChange]], object]) -> Closeable:
        self._online()
        # Below a tenant middleware, the subscription reports the secrets of this tenant.
        tenant = current_tenant()

        def changed(changes: list[SecretChange]) -> None:
            with TenantContext(tenant) if tenant is not None else nullcontext():
                for change in changes:
                    self._forget(change.key)
            if not changes:
                self.cache.drop_all()  # changes were missed: any key may be one
            callback(changes)

        return self.inner.subscribe_changes(changed)

    def get_secret_version(self, key: str, version: str) -> str:
        with self._asking():
            return self.inner.get_secret_version(key, version)

    def stage_secret(self, key: str, value: str) -> str:
        with self._asking():
            return self.inner.stage_secret(key, value)

    def discard_version(self, key: str, version: str) -> None:
        try:
            with self._asking():
                self.inner.discard_version(key, version)
        except ConflictError:
            self._forget(key)
            raise

    def invalidate(self, key: str) -> None:
        """Forget `key` of the active tenant, also in the second level."""
        self.cache.invalidate(key)

    def clear(self) -> None:
        """Forget everything of the active tenant, also in the second level."""
        self.cache.clear()

    def drop(self, source: Source) -> None:
        """Forget what was read from `source`, of every tenant: here at once, and in the second level."""
        # Until something is read, what is read is not known; a shared level may have it from other processes.
        if source.place not in (self._places or places_of(self.inner)):
            return
        self._forget_source(source)
        if self._shared is not None:
            self._shared.drop(self._text_of(source))
            self._forget_source(source)  # a read in between may have found it in the second level

    def drop_all(self, places: frozenset[str]) -> None:
        """Forget all that is read from one of `places`, of every tenant: here, and in the second level."""
        if not places.isdisjoint(places_of(self.inner)):
            self.cache.drop_all()

    def _begin_again(self) -> None:
        self._noting = threading.RLock()

    def _rest(self, take: Take) -> None:
        take(self._noting)  # so that a forked child has no half-made note

    def belongs_to(self, pipeline: str) -> None:
        """Name the pipeline in what is logged of the second level, if there is one."""
        if self._shared is not None:
            self._shared.belongs_to(pipeline)

    def owes_drops(self) -> bool:
        """Return whether something is still to be dropped from the second level, which does not answer."""
        return self._shared is not None and self._shared.owes_drops()

    def stats(self) -> CacheStats:
        """Return what the cache counted."""
        return self.cache.stats()

    def close(self) -> None:
        """Forget everything, and close the second level and the inner provider."""
        try:
            self.cache.close()
        finally:
            super().close()

    def _load(self, key: str) -> FetchResult:
        self._sources(key)
        return FetchResult(self._fetch(key), max_age=self._max_age(key))

    def _load_many(self, keys: list[str]) -> dict[str, FetchResult]:
        for key in keys:
            self._sources(key)
        return {
            key: FetchResult(value, max_age=self._max_age(key))
            for key, value in self.inner.get_secrets(keys).items()
        }

    def _max_age(self, key: str) -> float | None:
        """Return the seconds until the rotation of `key` is due, None if that is not known or past."""
        due = self._due_at(key) if self._due_at is not None else None
        left = (due - datetime.now(UTC)).total_seconds() if due is not None else 0
        return left if left > 0 else None

    def _forget_all(self, keys: Iterable[str]) -> None:
        for key in keys:
            self._forget(key)

    def _forget(self, key: str) -> None:
        if not isinstance(key, str):
            return  # the write was refused, and is reported as that
        sources = sources_of(self.inner, key, written=True)
        if not sources:
            self.cache.invalidate(key)
        self.cache.forget(current_tenant(), key)
        for source in sources:
            self.drop(source)

    def _forget_source(self, source: Source) -> None:
        """Forget what was read from `source` in this process."""
        self.cache.forget_everywhere(source.key)
        with self._noting:
            renamed = list(self._renamed.get(source, ()))
        for tenant, key in renamed:
            self.cache.forget(tenant, key)

    def _source_texts(self, key: str) -> list[str]:
        return [self._text_of(source) for source in self._sources(key)]

    def _text_of(self, source: Source) -> str:
        # The place of an object without an address means nothing to other processes: its namespace does.
        named = self._namespace is not None and type_of(source.place) is None
        return f"{self._namespace if named else source.place}\0{source.key}"

    def _sources(self, key: str) -> list[Source]:
        """Return where `key` is read from, and take note of it if it has another name there."""
        sources = sources_of(self.inner, key)
        renamed = [source for source in sources if source.key != key]
        if renamed or not self._places.issuperset(source.place for source in sources):
            with self._noting:
                self._places |= {source.place for source in sources}
                for source in renamed:
                    self._renamed.setdefault(source, set()).add((current_tenant(), key))
                if len(self._renamed) > self._most_renamed:
                    held = {
                        source: {one for one in whose if self.cache.holds(*one)}
                        for source, whose in self._renamed.items()
                    }
                    self._renamed = {source: whose for source, whose in held.items() if whose}
                    self._most_renamed = 2 * len(self._renamed) + _FEW
        return sources

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Let this thread ask the backend in the block; it cannot while `offline`."""
        self._online()
        with self.cache.working():
            yield

    def _online(self) -> None:
        if self._offline:
            from strongroom.middleware.offline import refuse_offline

            refuse_offline()


def _offline(inner: Any) -> Any:
    """Return `inner` with a layer around it that also stops what goes past the cache."""
    from strongroom.middleware.offline import OfflineMiddleware

    return OfflineMiddleware(inner)


def _namespace_of(inner: Any, l2: CacheStore) -> str:
    from strongroom.cache.memory_store import MemoryCacheStore

    address = address_of(inner, here=isinstance(l2, MemoryCacheStore))
    if address is not None:
        return address
    raise ConfigurationError(
        f"caching: {part_without_address(inner)!r} has no address: in a shared second level, its secrets "
        "could not be told apart from those of another backend",
        hint='give `namespace="…"`, a text of your own, the same on all hosts and for no other backend',
    )


def make_caching_middleware(
    inner: Any, *, l2: Any = None, encryption: Any = None, context: Any = None, **options: Any
) -> CachingMiddleware:
    """Return the middleware that a spec describes, with its parts, and with its place in the pipeline."""
    if context is not None:
        options |= {
            "namespace": context.address,
            "due_at": partial(_due_at, inner, context.rotate_days),
        }
    middleware = CachingMiddleware(
        inner,
        l2=l2.make("cache") if l2 is not None else None,
        encryption=encryption.make("encryption") if encryption is not None else None,
        **options,
    )
    if context is not None:
        middleware.belongs_to(context.pipeline)
    return middleware


make_caching_middleware.accepts_pipeline_context = True  # type: ignore[attr-defined]  # see `strongroom.registry.assembly`


def _due_at(inner: Any, rotate_days: Mapping[str, int], key: str) -> datetime | None:
    """Return when a declared secret is due; None for any other, or if the backend does not know its age."""
    days = rotate_days.get(key)
    if days is None or not has_capability(inner, "Describer"):
        return None
    try:
        metadata = inner.describe_secret(key)
    except StrongroomError:
        return None  # the value is returned all the same, and lives as long as any other
    from strongroom.providers.metadata import due_at

    return due_at(metadata, days)
