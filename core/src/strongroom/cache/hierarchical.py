"""The cache in the process, with a second level behind it that processes share."""

from __future__ import annotations

import contextlib
import math
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Final

from strongroom.cache.entry_codec import StoredEntry, own_codec, shared_codec
from strongroom.cache.memory_store import MemoryCacheStore
from strongroom.cache.outcomes import REFUSALS, checked, concerns_all, meaning
from strongroom.cache.resilient_store import ResilientStore
from strongroom.cache.second_level import SecondLevel
from strongroom.cache.secret_cache import LoadMany, SecretCache, check_at_least
from strongroom.cache.single_flight import FetchResult
from strongroom.cache.stats import CacheStats
from strongroom.cache.store import CacheStore, WatchableStore
from strongroom.encryption.ciphers import Encryption
from strongroom.errors import BackendUnavailableError, show_key
from strongroom.parallel import SingleEntryLock, in_parallel, renew_after_fork, start_thread
from strongroom.providers import Closeable
from strongroom.runtime.coroutines import refuse_class
from strongroom.runtime.frozen import replaced
from strongroom.runtime.pickling import ProcessBound
from strongroom.tenancy import current_tenant

__all__ = ["HierarchicalSecretCache"]

_DEAF_SECONDS: Final = 1.0
_PARALLEL: Final = 8


class HierarchicalSecretCache(ProcessBound):
    """`SecretCache` in front of a store that several processes share, which together fetch a value once.

    The store gets hashed names and encrypted values. A store that is down, slow or contains garbage costs a
    fetch, never an error. If it is a `strongroom.cache.WatchableStore`, entries that another process drops
    are dropped here as well; while it cannot report drops, values live here for a second at most.

    Args:
        l1_ttl_seconds: How long a value is fresh in this process.
        l2_ttl_seconds: How long it is fresh in the store.
        l2: The store; without it one in memory.
        encryption: What encrypts for the store; without it the key in `STRONGROOM_ENCRYPTION_KEY`, or, for a
            store in memory, a key of the store that all its caches share.
        namespace: Distinguishes caches that share a store and a key but have different backends.
        sources: Returns where the value of a key is stored, as texts that are equal for all readers of the
            same value; `drop` drops by them, whatever the namespace and the tenant.
        account: Called once, at the first use of the store: returns what else decides which secrets are
            meant. The store is not used while it raises.
        max_entries: See `SecretCache`; of this process alone.
        negative_ttl_seconds: See `SecretCache`; of this process alone.
        stale_if_error_seconds: See `SecretCache`; for both levels, each counted from the end of its own life.
        refresh_ahead: See `SecretCache`; of this process alone.
        jitter: See `SecretCache`; of this process alone.
        fetch_timeout_seconds: How long a caller waits for a fetch, even another process's.
        l2_timeout_seconds: How long the store may take for an answer.
        lock_seconds: How long a process may take for a fetch before another one tries.
        offline: Ask only the store, and never fetch.
        max_age_seconds: How old a value may be that is returned while `offline`; without it, as long as it is
            fresh or may be stale.
        clock: Monotonic seconds.
        wall: Seconds since the epoch; without it the time of day, or `clock` where one is given.

    Raises:
        ConfigurationError: A number is out of its range, or a shared store has no key.
    """

    def __init__(
        self,
        l1_ttl_seconds: float = 60,
        l2_ttl_seconds: float = 300,
        *,
        l2: CacheStore | None = None,
        encryption: Encryption | None = None,
        namespace: str = "",
        max_entries: int = 10_000,
        negative_ttl_seconds: float = 0,
        stale_if_error_seconds: float = 0,
        refresh_ahead: float = 0.0,
        jitter: float = 0.0,
        fetch_timeout_seconds: float | None = 60,
        l2_timeout_seconds: float = 0.5,
        lock_seconds: float = 10,
        offline: bool = False,
        max_age_seconds: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] | None = None,
        sources: Callable[[str], list[str]] | None = None,
        account: Callable[[], str] | None = None,
    ) -> None:
        check_at_least(0, l2_ttl_seconds=l2_ttl_seconds, l2_timeout_seconds=l2_timeout_seconds)
        check_at_least(0, lock_seconds=lock_seconds, max_age_seconds=max_age_seconds or 0)
        self._l1 = SecretCache(
            l1_ttl_seconds,
            max_entries=max_entries,
            negative_ttl_seconds=negative_ttl_seconds,
            stale_if_error_seconds=0 if offline else stale_if_error_seconds,
            refresh_ahead=refresh_ahead,
            jitter=jitter,
            fetch_timeout_seconds=fetch_timeout_seconds,
            clock=clock,
        )
        self._l1.most_seconds = self._heard_seconds
        refuse_class(l2, "get")
        store = l2 if l2 is not None else MemoryCacheStore(clock=clock)
        self._store = ResilientStore(
            store, timeout_seconds=l2_timeout_seconds, lock_seconds=lock_seconds, clock=clock
        )
        own = isinstance(store, MemoryCacheStore) and encryption is None
        self._level = SecondLevel(
            self._store,
            own_codec(store, namespace) if own else shared_codec(encryption, namespace),
            ttl_seconds=l2_ttl_seconds,
            stale_seconds=stale_if_error_seconds,
            keep_seconds=max(l2_ttl_seconds + stale_if_error_seconds, max_age_seconds or 0),
            sources=sources or (lambda _: []),
            account=account,
            holds=self._l1.holds,
            clock=clock,
            wall=wall or (time.time if clock is time.monotonic else clock),
        )
        self._offline = offline
        self._max_age = (
            l2_ttl_seconds + stale_if_error_seconds if max_age_seconds is None else max_age_seconds
        )
        self._subscription: Closeable | None = None
        self.fresh = self._l1.fresh
        """See `SecretCache.fresh`: the store is not asked."""
        self._begin_again()
        renew_after_fork(self, HierarchicalSecretCache._begin_again)

    def get_or_fetch(self, key: str, fetch: Callable[[str], str]) -> str:
        """Return the value of `key`: from this process, else from the store, else what `fetch(key)` returns.

        Raises:
            BackendUnavailableError: The fetch did not end in time; or `offline`, and the store has nothing
                that is young enough. Else whatever `fetch` raises.
            TypeError: `fetch` returned something else than text.
        """
        value = self._l1.fresh(key)
        return value if value is not None else self.reader(lambda asked: FetchResult(fetch(asked)))(key)

    def reader(self, load: Callable[[str], FetchResult]) -> Callable[[str], str]:
        """Return a function of a key that reads through both levels: the fast path, bound once."""
        return self._l1.reader(lambda key: self._through(key, load))

    def read_many(self, keys: list[str], load: LoadMany) -> dict[str, str]:
        """Return the values of those of `keys` that are there; `load` is asked for what is missing, once."""
        return self._l1.read_many(keys, lambda missing: self._through_many(missing, load))

    def invalidate(self, key: str) -> None:
        """Forget `key` of the active tenant: here at once, and in every process that the store informs."""
        tenant = current_tenant()
        self._l1.forget(tenant, key)
        with self.working():
            self._level.invalidate(key)
        self._l1.forget(tenant, key)  # a read in between may have found it in the store

    def drop(self, source: str) -> None:
        """Drop from the store what was read from `source`, by any tenant and through any pipeline."""
        with self.working():
            self._level.drop_source(source)

    def drop_all(self) -> None:
        """Forget everything of every tenant, in the store as well: what other caches read there, too."""
        self._l1.forget_all()
        with self.working():
            self._level.drop_all()
        self._l1.forget_all()  # see `invalidate`

    def forget_everywhere(self, key: str) -> None:
        """Forget `key` of every tenant in this process."""
        self._l1.forget_everywhere(key)

    def forget(self, tenant: str | None, key: str) -> None:
        """Forget `key` of `tenant` in this process."""
        self._l1.forget(tenant, key)

    def owes_drops(self) -> bool:
        """Return whether something is still to be dropped from the store."""
        return self._level.owes_drops()

    def holds(self, tenant: str | None, key: str) -> bool:
        """Return whether this process has an entry of `key`, or a fetch under way."""
        return self._l1.holds(tenant, key)

    def invalidate_prefix(self, prefix: str) -> None:
        """Forget all keys of the active tenant that begin with `prefix`.

        The store does not know which keys its names are of: it forgets all of the tenant's.
        """
        self._l1.invalidate_prefix(prefix)
        with self.working():
            dropped = self._level.drop_tenant()
        if dropped:
            self._l1.invalidate_prefix(prefix)  # see `invalidate`

    def clear(self) -> None:
        """Forget everything of the active tenant, in the store as well."""
        self.invalidate_prefix("")

    def saw_version(self, key: str, version: str) -> bool:
        """Take note of the current version of `key`; see `SecretCache.saw_version`."""
        return self._l1.saw_version(key, version)

    def stats(self) -> CacheStats:
        """Return the counts of this process; failures of the store are among the errors."""
        return replaced(self._l1.stats(), errors=self._l1.stats().errors + self._store.errors)

    def belongs_to(self, pipeline: str) -> None:
        """Name the pipeline in what is logged of the second level."""
        self._store.whose = f" of pipeline {pipeline}"

    def fault(self) -> Exception | None:
        """Use the store as reads and writes do, and return what it fails with; None if it works."""
        return self._store.fault(reads_only=self._offline)

    def refuse_inner_write(self) -> None:
        """Refuse a write that could not be forgotten; see `SecretCache.refuse_inner_write`."""
        self._l1.refuse_inner_write()
        self._level.refuse_inner_write()

    def working(self) -> AbstractContextManager[None]:
        """Return `SecretCache.working` of the level in this process."""
        return self._l1.working()

    def close(self) -> None:
        """Stop listening, and close the store; values in this process are forgotten."""
        with self._lock:
            self._listens = True  # so that no later read begins to
        subscription = self._subscription
        self._subscription = None
        try:
            if subscription is not None:
                subscription.close()
        finally:
            self._l1.close()
            self._store.close()
            if isinstance(self._store.store, Closeable):
                self._store.store.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} over {self._store.store!r}>"

    # --- one read, past the first level ---

    def _through(self, key: str, load: Callable[[str], FetchResult]) -> FetchResult:
        if self._l1.is_interrupted() and not self._offline:
            return load(key)
        self._listen()
        return self._named(key, load) if self._level.is_named() else self._unnamed(key, load)

    def _named(self, key: str, load: Callable[[str], FetchResult]) -> FetchResult:
        tenant = current_tenant()
        name = self._level.name(tenant, key)
        version = self._l1.described(tenant, key)
        marks = self._level.marks(tenant, key)
        entry = self._level.look(name, self._level.read_marks(marks))
        if self._offline:
            return self._given_offline(key, entry)
        if entry is not None and self._level.serves(entry, version):
            return self._level.fresh(entry)
        with self._store.holding(name) as token:
            if token is not None:
                # The previous holder of the lock has most likely fetched.
                read_marks = self._level.read_marks(marks, make=True)
                entry = self._level.look(name, read_marks) or entry
                if entry is not None and self._level.serves(entry, version):
                    return self._level.fresh(entry)
                fence = self._level.fence_if_needed(tenant)
            try:
                fetched = replaced(checked(load(key)), version=version)
            except Exception as error:
                translated = meaning(error, key)
                if isinstance(translated, BackendUnavailableError):
                    stale = self._level.stale(entry)
                    if stale is not None:
                        return stale
                # Without the lock, another process may have put an entry there meanwhile.
                elif isinstance(translated, REFUSALS) and (entry is not None or token is None):
                    self._level.drop_keys([key])
                raise
            if token is not None:
                self._level.put(name, fetched, token, read_marks, fence)
        return fetched

    def _through_many(
        self, keys: list[str], load: Callable[[list[str]], Mapping[str, FetchResult]]
    ) -> Mapping[str, FetchResult]:
        if self._l1.is_interrupted() and not self._offline:
            return load(keys)
        # Without locks: a batch would have to hold as many as it has keys.
        self._listen()
        tenant = current_tenant()
        if not self._level.is_named():
            if self._offline:
                raise self._without_account()
            return {key: _for_a_second(checked(one)) for key, one in load(keys).items()}
        names = {key: self._level.name(tenant, key) for key in keys}
        marks = {key: self._level.marks(tenant, key) for key in keys}
        versions = {key: self._l1.described(tenant, key) for key in keys}
        read_marks = dict(
            zip(
                keys,
                in_parallel(lambda key: self._level.read_marks(marks[key]), keys, _PARALLEL),
                strict=True,
            )
        )
        looked = in_parallel(lambda key: self._level.look(names[key], read_marks[key]), keys, _PARALLEL)
        entries_kept = {key: one for key, one in zip(keys, looked, strict=True) if one is not None}
        if self._offline:
            return {key: self._given_offline(key, entries_kept.get(key)) for key in keys}
        entries = {
            key: self._level.fresh(one)
            for key, one in entries_kept.items()
            if self._level.serves(one, versions[key])
        }
        missing = [key for key in keys if key not in entries]
        if missing:
            made = in_parallel(lambda key: self._level.read_marks(marks[key], make=True), missing, _PARALLEL)
            read_marks |= zip(missing, made, strict=True)
            fence = self._level.fence(tenant)
            loaded = self._loaded(missing, entries_kept, load)
            fetched = {
                key: replaced(one, version=versions[key])
                for key, one in loaded.items()
                if one.source != "stale"
            }
            self._level.put_many({names[key]: (one, read_marks[key]) for key, one in fetched.items()}, fence)
            entries |= {**loaded, **fetched}
        return entries

    def _loaded(
        self,
        missing: list[str],
        kept: Mapping[str, StoredEntry],
        load: Callable[[list[str]], Mapping[str, FetchResult]],
    ) -> Mapping[str, FetchResult]:
        try:
            fetched = {key: checked(one) for key, one in load(missing).items()}
        except BackendUnavailableError:
            stale = {key: one for key in missing if (one := self._level.stale(kept.get(key))) is not None}
            if len(stale) < len(missing):
                raise
            return stale
        except REFUSALS as error:
            self._level.drop_keys(
                key for key in missing if key in kept and (key == error.key or concerns_all(error))
            )
            raise
        self._level.drop_keys(key for key in missing if key in kept and key not in fetched)
        return fetched

    def _unnamed(self, key: str, load: Callable[[str], FetchResult]) -> FetchResult:
        if self._offline:
            raise self._without_account()
        return _for_a_second(checked(load(key)))

    def _without_account(self) -> BackendUnavailableError:
        return BackendUnavailableError(
            "offline, and the account of the provider is not known",
            hint="a second level that accounts share needs to know it: let its provider log in",
        )

    def _given_offline(self, key: str, entry: StoredEntry | None) -> FetchResult:
        age = self._level.age(entry) if entry is not None else None
        if entry is None or age is None or age > self._max_age:
            state = "nothing is kept" if age is None else f"what is kept is {age:.0f} s old"
            raise BackendUnavailableError(
                f"offline, and {state} of {show_key(key)}",
                key=key,
                hint="go online once, or allow a greater `max_age_seconds`",
            )
        return FetchResult(entry.value, "l2", self._max_age - age)

    def _heard_seconds(self) -> float:
        """Return how long the first level keeps things: a second where changes elsewhere are not heard."""
        return math.inf if self._hears() and self._level.has_names() else _DEAF_SECONDS

    def _hears(self) -> bool:
        subscription = self._subscription
        if subscription is None:
            return not self._is_watched()
        try:
            alive = getattr(subscription, "alive", None)
        except Exception:  # noqa: BLE001  # a third party's property
            return False
        return self._store.is_open() if alive is None else bool(alive)

    def _is_watched(self) -> bool:
        return isinstance(self._store.store, WatchableStore)

    # --- what other processes drop ---

    def _begin_again(self) -> None:
        self._lock = SingleEntryLock("the cache")
        self._listens = False
        self._subscription = None

    def _listen(self) -> None:
        if self._listens or not self._store.is_open():
            return
        with self._lock:
            if self._listens:
                return
            self._listens = True
        store = self._store.store
        if isinstance(store, WatchableStore):
            me = weakref.ref(self)
            try:
                self._subscription = subscription = store.subscribe(lambda name: _heard(me, name))
            except Exception as error:  # noqa: BLE001  # a third party's; or there are no more threads
                self._store.failed(error)
                self._listens = False
                return
            if subscription is None:
                return
            # One that is dropped without `close` must not leave a thread and a connection behind.
            weakref.finalize(self, _unsubscribe, subscription, self._store).atexit = False

    def _dropped(self, name: str | None) -> None:
        if name is None:
            self._l1.forget_all()
            return
        for tenant, key in self._level.keys_of(name):
            self._l1.forget(tenant, key)


def _for_a_second(fetched: FetchResult) -> FetchResult:
    """Return what was read past the store: notices give names, by which it is not known."""
    max_age = _DEAF_SECONDS if fetched.max_age is None else min(fetched.max_age, _DEAF_SECONDS)
    return replaced(fetched, max_age=max_age)


def _unsubscribe(subscription: Closeable, store: ResilientStore) -> None:
    """End the subscription of a cache that is gone; on another thread, as that may take a moment."""

    def end() -> None:
        with contextlib.suppress(Exception):  # a third party's; nobody waits for it
            subscription.close()

    store.close()
    with contextlib.suppress(RuntimeError):  # the interpreter is on its way out
        start_thread(threading.Thread(target=end, name="strongroom-cache-end", daemon=True))


def _heard(me: weakref.ref[HierarchicalSecretCache], name: str | None) -> None:
    cache = me()
    if cache is not None:
        cache._dropped(name)  # noqa: SLF001  # the module's own
