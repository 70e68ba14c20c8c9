"""Values remembered for a time, so that the backend is asked once and its outage is not everybody's."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from strongroom.cache.flights import Fetched
from strongroom.cache.hierarchical import HierarchicalSecretCache
from strongroom.cache.memory import SecretCache
from strongroom.cache.stats import CacheStats
from strongroom.cache.store import CacheStore
from strongroom.encryption.ciphers import Encryption
from strongroom.errors import BackendUnavailableError, ConfigurationError, ConflictError, StrongroomError
from strongroom.middleware.writes import WritesMiddleware
from strongroom.providers import Describer, SecretMetadata, SecretVersion

__all__ = ["CachingMiddleware", "make_caching_middleware"]


class CachingMiddleware(WritesMiddleware):
    """Answers reads from memory, and behind it from a store that processes share where one is given.

    Everything that changes a secret through it makes it forget: writes, deletes, conditional writes,
    promotions. So does a description or a history that shows another version than before, and a conflict.

    Args:
        inner: The provider that is shielded.
        ttl_seconds: How long a value is fresh in this process.
        max_entries: As of `strongroom.cache.SecretCache`, like the next five.
        negative_ttl_seconds: How long "not found" is remembered.
        stale_if_error_seconds: How long past its time a value serves while the backend is unavailable.
        refresh_ahead: The last part of a life in which a read has the value fetched anew in the background.
        jitter: How much shorter a life may be.
        fetch_timeout_seconds: How long a caller waits for a fetch.
        l2: A `strongroom.cache.CacheStore` that processes share.
        l2_ttl_seconds: How long a value is fresh in it; without it, as long as in this process.
        encryption: What encrypts for it; without it the key in `STRONGROOM_ENCRYPTION_KEY`.
        namespace: What tells apart backends behind one store; without it the inner provider's `repr`.
        l2_timeout_seconds: How long the store may take for an answer.
        offline: Answer from `l2` alone and leave the backend alone; everything but a read is unavailable.
        max_age_seconds: How old a value may be that is given while `offline`.
        due_at: Tells when a key is due to be rotated: no value is fresh past that.
        clock: Monotonic seconds.

    Raises:
        ConfigurationError: A number is out of its range; a store that others share has no key; `offline`
            or another option of `l2` without it.
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
        super().__init__(inner)
        self._offline = offline
        self._due_at = due_at
        self._fetch = self.inner.get_secret
        self.cache: SecretCache | HierarchicalSecretCache
        if l2 is None:
            if offline or l2_ttl_seconds is not None or max_age_seconds is not None:
                raise ConfigurationError(
                    "caching: offline, l2_ttl_seconds and max_age_seconds are for a second level",
                    hint="add `l2`, for example {type: file.cache, path: cache.db}",
                )
            self.cache = SecretCache(
                ttl_seconds,
                max_entries=max_entries,
                negative_ttl_seconds=negative_ttl_seconds,
                stale_if_error_seconds=stale_if_error_seconds,
                refresh_ahead=refresh_ahead,
                jitter=jitter,
                fetch_timeout_seconds=fetch_timeout_seconds,
                clock=clock,
            )
        else:
            self.cache = HierarchicalSecretCache(
                ttl_seconds,
                ttl_seconds if l2_ttl_seconds is None else l2_ttl_seconds,
                l2=l2,
                encryption=encryption,
                namespace=repr(self.inner) if namespace is None else namespace,
                max_entries=max_entries,
                negative_ttl_seconds=negative_ttl_seconds,
                stale_if_error_seconds=stale_if_error_seconds,
                refresh_ahead=refresh_ahead,
                jitter=jitter,
                fetch_timeout_seconds=fetch_timeout_seconds,
                l2_timeout_seconds=l2_timeout_seconds,
                offline=offline,
                max_age_seconds=max_age_seconds,
                clock=clock,
            )
        # In place of the method: a call less on the fast path.
        self.get_secret = self.cache.reader(self._load)  # type: ignore[assignment,method-assign]

    def get_secret(self, key: str) -> str:
        raise AssertionError(key)  # each instance has the reader of its own cache

    @contextmanager
    def writing(self, *keys: str) -> Iterator[None]:
        """Forget `keys` after the write, also where it failed: nobody knows then what is stored.

        After a conflict too: it says that somebody else has changed the secret.
        """
        self._online()
        try:
            yield
        finally:
            for key in keys:
                self._forget(key)

    def list_secrets(self, prefix: str = "") -> list[str]:
        self._online()
        return self.inner.list_secrets(prefix)

    def get_secrets(self, keys: Iterable[str]) -> dict[str, str]:
        return self.cache.read_many(list(dict.fromkeys(keys)), self._load_many)

    def describe_secret(self, key: str) -> SecretMetadata:
        self._online()
        told = self.inner.describe_secret(key)
        self.cache.saw_version(key, told.version)
        return told

    def list_versions(self, key: str) -> list[SecretVersion]:
        self._online()
        versions = self.inner.list_versions(key)
        for version in versions:
            if version.state == "current":
                self.cache.saw_version(key, version.version)
        return versions

    def get_secret_version(self, key: str, version: str) -> str:
        self._online()
        return self.inner.get_secret_version(key, version)

    def stage_secret(self, key: str, value: str) -> str:
        self._online()
        return self.inner.stage_secret(key, value)

    def discard_version(self, key: str, version: str) -> None:
        self._online()
        try:
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

    def stats(self) -> CacheStats:
        """Return what the cache counted."""
        return self.cache.stats()

    def close(self) -> None:
        """Forget everything, and close the second level and the inner provider."""
        self.cache.close()
        super().close()

    def _load(self, key: str) -> Fetched:
        return Fetched(self._fetch(key), life=self._life(key))

    def _load_many(self, keys: list[str]) -> dict[str, Fetched]:
        return {
            key: Fetched(value, life=self._life(key)) for key, value in self.inner.get_secrets(keys).items()
        }

    def _life(self, key: str) -> float | None:
        """Return the seconds until the rotation of `key` is due, None where it is not known or overdue."""
        due = self._due_at(key) if self._due_at is not None else None
        left = (due - datetime.now(UTC)).total_seconds() if due is not None else 0
        return left if left > 0 else None

    def _forget(self, key: str) -> None:
        if isinstance(key, str):  # else the write was refused, and is told as that
            self.cache.invalidate(key)

    def _online(self) -> None:
        if self._offline:
            raise BackendUnavailableError(
                "this pipeline is offline: it only reads what the cache holds",
                hint="take `offline` out of its caching middleware",
            )


def make_caching_middleware(
    inner: Any, *, l2: Any = None, encryption: Any = None, surroundings: Any = None, **options: Any
) -> CachingMiddleware:
    """Return the middleware as a spec describes it: its parts made, and told what it is in front of."""
    if surroundings is not None:
        options |= {
            "namespace": f"{surroundings.pipeline}\0{surroundings.address}",
            "due_at": partial(_due_at, inner, surroundings.rotate_days),
        }
    return CachingMiddleware(
        inner,
        l2=l2.make() if l2 is not None else None,
        encryption=encryption.make() if encryption is not None else None,
        **options,
    )


make_caching_middleware.wants_surroundings = True  # type: ignore[attr-defined]  # see `strongroom.assembly`


def _due_at(inner: Any, rotate_days: Mapping[str, int], key: str) -> datetime | None:
    """Return when a declared secret is due, None for any other, and where the backend tells no age."""
    days = rotate_days.get(key)
    if days is None or not isinstance(inner, Describer):
        return None
    try:
        updated = inner.describe_secret(key).updated_at
    except StrongroomError:
        return None  # the value was read, and is given; it only lives as long as any other
    return None if updated is None else updated + timedelta(days=days)
