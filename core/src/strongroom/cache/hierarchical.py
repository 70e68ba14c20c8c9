"""The cache in the process, with a second level behind it that processes share."""

from __future__ import annotations

import contextlib
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from strongroom._frozen import replaced
from strongroom._logs import logger
from strongroom._pickling import ProcessBound
from strongroom.cache.entry_codec import EntryCodec, StoredEntry, own_sealing, shared_sealing
from strongroom.cache.memory_store import MemoryCacheStore
from strongroom.cache.resilient_store import ResilientStore
from strongroom.cache.secret_cache import (
    REFUSALS,
    LoadMany,
    SecretCache,
    check_at_least,
    checked,
    concerns_all,
)
from strongroom.cache.single_flight import FetchResult
from strongroom.cache.stats import CacheStats
from strongroom.cache.store import CacheStore, Subscription, WatchableStore
from strongroom.encryption.ciphers import Encryption
from strongroom.errors import BackendUnavailableError, ValidationError, show_key
from strongroom.parallel import SingleEntryLock, in_parallel, renew_after_fork
from strongroom.providers import Closeable
from strongroom.tenancy import current_tenant

__all__ = ["HierarchicalSecretCache"]

_DEAF_SECONDS: Final = 1.0
_SKEW_SECONDS: Final = 1.0
"""How far another host's clock may be ahead; what was fetched later than that is rubbish."""
_PARALLEL: Final = 8
_MARK_SECONDS: Final = 86_400.0
_ACCOUNT_PAUSE: Final = 60.0
_MOST_UNDROPPED: Final = 10_000
_log = logger("strongroom.cache")
_FEW: Final = 1024


class HierarchicalSecretCache(ProcessBound):
    """`SecretCache` in front of a store that several processes share, with one fetch among them all.

    The store gets names that are hashed and values that are encrypted. One that is down, slow or holds
    rubbish costs a fetch, never an error. What another process drops is dropped here as well where the store
    is a `strongroom.cache.WatchableStore`; while it cannot tell, values live here for a second at most.

    Args:
        l1_ttl_seconds: How long a value is fresh in this process.
        l2_ttl_seconds: How long it is fresh in the store.
        l2: The store; without it one in memory, with a key of its own.
        encryption: What encrypts for the store; without it the key in `STRONGROOM_ENCRYPTION_KEY`.
        namespace: What tells apart caches that share a store and a key: their backends differ.
        sources: Tells for a key where its value is stored, as texts that are equal for all who read the same;
            `drop` drops by them, whatever the namespace and the tenant.
        account: Asked once, at the first use of the store, for what else decides which secrets are meant. The
            store is not used while it raises.
        max_entries: See `SecretCache`, like the next five.
        negative_ttl_seconds: Of this process alone.
        stale_if_error_seconds: For both levels, each from the end of its own time to live.
        refresh_ahead: Of this process.
        jitter: Of this process.
        fetch_timeout_seconds: How long a caller waits for a fetch, the other process's included.
        l2_timeout_seconds: How long the store may take for an answer.
        lock_seconds: How long a process may take for a fetch before another one tries.
        offline: Ask the store alone, and never fetch.
        max_age_seconds: How old a value may be that is given while `offline`; without it, as long as it is
            fresh or may be stale.
        clock: Monotonic seconds.
        wall: Seconds since the epoch; without it the time of day, or `clock` where one is given.

    Raises:
        ConfigurationError: A number is out of its range, or a store that others share has no key.
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
        store = l2 if l2 is not None else MemoryCacheStore(clock=clock)
        own = isinstance(store, MemoryCacheStore) and encryption is None
        self._sealing: EntryCodec = own_sealing(namespace) if own else shared_sealing(encryption, namespace)
        self._store = ResilientStore(
            store, timeout_seconds=l2_timeout_seconds, lock_seconds=lock_seconds, clock=clock
        )
        self._ttl = l2_ttl_seconds
        self._stale = stale_if_error_seconds
        self._offline = offline
        self._max_age = (
            l2_ttl_seconds + stale_if_error_seconds if max_age_seconds is None else max_age_seconds
        )
        self._keep = max(l2_ttl_seconds + stale_if_error_seconds, max_age_seconds or 0)
        self._wall = wall or (time.time if clock is time.monotonic else clock)
        self._most_known = _FEW
        self._known: dict[str, set[tuple[str | None, str]]] = {}
        self._sources = sources or (lambda _: [])
        self._clock = clock
        self._account, self._account_suffix = account, ""
        self._account_asked_again = float("-inf")
        self._undropped: set[tuple[bool, str | None, str]] = set()
        self._subscription: Subscription | None = None
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
        return self._l1.reader(lambda key: self._bounded(self._through(key, load)))

    def read_many(self, keys: list[str], load: LoadMany) -> dict[str, str]:
        """Return the values of those of `keys` that are there; `load` is asked for what is missing, once."""
        return self._l1.read_many(keys, lambda missing: self._through_many(missing, load))

    def invalidate(self, key: str) -> None:
        """Forget `key` of the active tenant, here at once, and wherever the store's drops are heard."""
        tenant = current_tenant()
        self._l1.forget(tenant, key)
        self._drop([key])
        self._l1.forget(tenant, key)  # who read in between may have found it in the store

    def drop(self, source: str) -> None:
        """Drop from the store what was read from `source`, by any tenant and through any pipeline."""
        if not self._is_named():
            self._owe(True, None, source)
            return
        self._store.drop(self._sealing.marks(source + self._account_suffix))

    def drop_all(self) -> None:
        """Forget everything of every tenant, in the store as well: also what other caches read there."""
        self._l1.forget_all()
        self._store.clear(self._sealing.mark_spaces())
        self._l1.forget_all()  # see `invalidate`

    def forget_everywhere(self, key: str) -> None:
        """Forget `key` of every tenant in this process."""
        self._l1.forget_everywhere(key)

    def forget(self, tenant: str | None, key: str) -> None:
        """Forget `key` of `tenant` in this process."""
        self._l1.forget(tenant, key)

    def owes_drops(self) -> bool:
        """Tell whether something is still to be dropped from the store."""
        return bool(self._undropped) or self._store.owes()

    def holds(self, tenant: str | None, key: str) -> bool:
        """Tell whether this process has an entry of `key`, or a fetch under way."""
        return self._l1.holds(tenant, key)

    def invalidate_prefix(self, prefix: str) -> None:
        """Forget all keys of the active tenant that begin with `prefix`.

        The store does not know which keys its names are of: it forgets all of the tenant's.
        """
        self._l1.invalidate_prefix(prefix)
        if not self._is_named():
            return  # nothing of this tenant is known by its name there
        self._store.clear(self._sealing.namespaces(current_tenant()))
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
        """Use the store as reads and writes do, and return what it fails with; None where it serves."""
        return self._store.fault(reads_only=self._offline)

    def close(self) -> None:
        """Stop listening, and close the store; values in this process are forgotten."""
        with self._lock:
            self._listens = True  # no more
        subscription = self._subscription
        self._subscription = None
        if subscription is not None:
            subscription.close()
        self._l1.close()
        self._store.close()
        if isinstance(self._store.store, Closeable):
            self._store.store.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} over {self._store.store!r}>"

    # --- one read, past the first level ---

    def _through(self, key: str, load: Callable[[str], FetchResult]) -> FetchResult:
        self._listen()
        return self._named(key, load) if self._is_named() else self._unnamed(key, load)

    def _named(self, key: str, load: Callable[[str], FetchResult]) -> FetchResult:
        tenant = current_tenant()
        name = self._name(tenant, key)
        version = self._l1.described(tenant, key)
        marks = self._marks(tenant, key)
        entry = self._look(name, self._read_marks(marks))
        if self._offline:
            return self._given_offline(key, entry)
        if entry is not None and self._serves(entry, version):
            return self._second_hand(entry)
        with self._store.holding(name) as token:
            if token is not None:
                # Whoever held the lock before has most likely fetched.
                read_marks = self._read_marks(marks, make=True)
                entry = self._look(name, read_marks) or entry
                if entry is not None and self._serves(entry, version):
                    return self._second_hand(entry)
            try:
                fetched = replaced(checked(load(key)), version=version)
            except BackendUnavailableError:
                stale = self._stale_of(entry)
                if stale is None:
                    raise
                return stale
            except REFUSALS:
                # Without the lock nobody knows what the store holds.
                if entry is not None or token is None:
                    self._drop([key])
                raise
            if token is not None:
                self._put(name, fetched, token, read_marks)
        return fetched

    def _through_many(
        self, keys: list[str], load: Callable[[list[str]], Mapping[str, FetchResult]]
    ) -> Mapping[str, FetchResult]:
        # Without locks: a batch would have to hold as many as it has keys.
        self._listen()
        tenant = current_tenant()
        if not self._is_named():
            if self._offline:
                raise self._without_account()
            return {key: self._bounded(checked(one)) for key, one in load(keys).items()}
        names = {key: self._name(tenant, key) for key in keys}
        marks = {key: self._marks(tenant, key) for key in keys}
        versions = {key: self._l1.described(tenant, key) for key in keys}
        read_marks = dict(
            zip(keys, in_parallel(lambda key: self._read_marks(marks[key]), keys, _PARALLEL), strict=True)
        )
        looked = in_parallel(lambda key: self._look(names[key], read_marks[key]), keys, _PARALLEL)
        entries_kept = {key: one for key, one in zip(keys, looked, strict=True) if one is not None}
        if self._offline:
            return {key: self._bounded(self._given_offline(key, entries_kept.get(key))) for key in keys}
        entries = {
            key: self._second_hand(one)
            for key, one in entries_kept.items()
            if self._serves(one, versions[key])
        }
        missing = [key for key in keys if key not in entries]
        if missing:
            made = in_parallel(lambda key: self._read_marks(marks[key], make=True), missing, _PARALLEL)
            read_marks |= zip(missing, made, strict=True)
            loaded = self._loaded(missing, entries_kept, load)
            for key, one in loaded.items():
                entries[key] = one if one.source == "stale" else replaced(one, version=versions[key])
                if one.source != "stale":
                    self._put(names[key], entries[key], None, read_marks[key])
        return {key: self._bounded(one) for key, one in entries.items()}

    def _loaded(
        self,
        missing: list[str],
        kept: Mapping[str, StoredEntry],
        load: Callable[[list[str]], Mapping[str, FetchResult]],
    ) -> Mapping[str, FetchResult]:
        try:
            fetched = {key: checked(one) for key, one in load(missing).items()}
        except BackendUnavailableError:
            stale = {key: one for key in missing if (one := self._stale_of(kept.get(key))) is not None}
            if len(stale) < len(missing):
                raise
            return stale
        except REFUSALS as error:
            self._drop(key for key in missing if key in kept and (key == error.key or concerns_all(error)))
            raise
        self._drop(key for key in missing if key in kept and key not in fetched)
        return fetched

    def _drop(self, keys: Iterable[str]) -> None:
        tenant = current_tenant()
        if not self._is_named():
            for key in keys:
                self._owe(False, tenant, key)
            return
        names = [name for key in keys for name in self._sealing.names(tenant, key)]
        if names:
            self._store.drop(names)

    def _stale_of(self, kept: StoredEntry | None) -> FetchResult | None:
        if kept is None or self._wall() >= kept.expires + self._stale:
            return None
        return FetchResult(kept.value, "stale", min(kept.expires - self._wall(), -0.0))

    def _is_named(self) -> bool:
        """Tell whether it is known how things are called in the store: who is logged in may decide that."""
        if self._account is None:
            return True
        with self._naming:
            if self._account is None:
                return True
            if self._clock() < self._account_asked_again:
                return False
            try:
                account = self._account()
            except Exception as error:  # noqa: BLE001  # a provider may be a stranger's
                self._account_asked_again = self._clock() + _ACCOUNT_PAUSE
                _log.warning(
                    "the second level of the cache is not used: whose account it is, is not known (%s)",
                    type(error).__name__,
                )
                return False
            self._sealing, self._account_suffix = self._sealing.within(account), f"\0{account}"
            self._account = None
            owed, self._undropped = self._undropped, set()
        names: list[str] = []
        for is_source, tenant, text in owed:
            names += (
                self._sealing.marks(text + self._account_suffix)
                if is_source
                else self._sealing.names(tenant, text)
            )
        if names:
            self._store.drop(names)
        return True

    def _owe(self, is_source: bool, tenant: str | None, text: str) -> None:
        """Take note of what is to be dropped as soon as it is known what it is called."""
        if len(self._undropped) < _MOST_UNDROPPED:
            self._undropped.add((is_source, tenant, text))

    def _unnamed(self, key: str, load: Callable[[str], FetchResult]) -> FetchResult:
        if self._offline:
            raise self._without_account()
        return checked(load(key))

    def _without_account(self) -> BackendUnavailableError:
        return BackendUnavailableError(
            "offline, and whose account it is cannot be told",
            hint="a second level that accounts share needs to know it: let its provider log in",
        )

    def _marks(self, tenant: str | None, key: str) -> list[str]:
        """Return the names of the marks of the sources of `key`, and remember whose they are."""
        names = [self._sealing.marks(source + self._account_suffix)[0] for source in self._sources(key)]
        for name in names:
            self._remember(name, tenant, key)
        return names

    def _read_marks(self, names: list[str], *, make: bool = False) -> tuple[str, ...] | None:
        """Return the marks of these names, those that are missing made; None where one is not there.

        A mark that is dropped, by a write on whatever host, makes all out of date that was fetched under it.
        """
        marks: list[str] = []
        for name in names:
            mark = _mark_of(self._store.get(name), self._wall() + self._keep)
            if mark is None and make:
                life = 2 * self._keep + _MARK_SECONDS
                data = f"{os.urandom(16).hex()} {self._wall() + life:.3f}".encode()
                self._store.set(name, data, life, None)
                mark = data.decode()
            if mark is None:
                return None
            marks.append(mark)
        return tuple(marks)

    def _look(self, name: str, marks: tuple[str, ...] | None) -> StoredEntry | None:
        found = self._store.get_with_life(name) if marks is not None else None
        if found is None:
            return None
        data, left = found
        try:
            entry = self._sealing.open(name, data)
        except Exception as error:  # noqa: BLE001  # a cipher may be a server, and that may be down
            self._store.failed(error)
            return None
        # What was fetched in the future is of a clock that is ahead, or ours went back: how old it is, nobody
        # knows.
        if entry is None or entry.fetched_at > self._wall() + _SKEW_SECONDS:
            self._store.rubbish(name)
            return None
        if entry.marks != marks:
            return None  # its source was written to since
        return self._by_own_clock(entry, left)

    def _by_own_clock(self, entry: StoredEntry, left: float | None) -> StoredEntry:
        """Return `entry` with the times of this host's clock: as old as it is by its own or by the store's.

        The clock of the host that wrote it may have been ahead; what it says is believed where that makes it
        older, so that whoever may write to the store lengthens no life either.
        """
        fetched_at, life = entry.fetched_at, min(entry.expires - entry.fetched_at, self._ttl)
        if left is not None:
            fetched_at = min(fetched_at, self._wall() - (entry.kept_for - left))
        return replaced(entry, fetched_at=fetched_at, expires=min(entry.expires, fetched_at + life))

    def _serves(self, kept: StoredEntry, version: str | None) -> bool:
        """Tell whether a value is fresh, and not older than the version that a description showed here."""
        return self._wall() < kept.expires and (version is None or kept.version == version)

    def _put(self, name: str, fetched: FetchResult, token: int | None, marks: tuple[str, ...] | None) -> None:
        if marks is None:
            return
        now = self._wall()
        life = self._ttl if fetched.life is None else min(self._ttl, fetched.life)
        try:
            kept = StoredEntry(fetched.value, now, now + life, self._keep, fetched.version, marks)
            data = self._sealing.seal(name, kept)
        except ValidationError:
            return  # no Unicode text: it cannot be stored, and is given all the same
        except Exception as error:  # noqa: BLE001  # see `_look`
            self._store.failed(error)
            return
        self._store.set(name, data, self._keep, token)

    def _second_hand(self, kept: StoredEntry) -> FetchResult:
        return FetchResult(kept.value, "l2", min(kept.expires - self._wall(), self._ttl), kept.version)

    def _given_offline(self, key: str, entry: StoredEntry | None) -> FetchResult:
        age = self._wall() - entry.fetched_at if entry is not None else None
        if entry is None or age is None or age > self._max_age:
            state = "nothing is kept" if age is None else f"what is kept is {age:.0f} s old"
            raise BackendUnavailableError(
                f"offline, and {state} of {show_key(key)}",
                key=key,
                hint="go online once, or allow a greater `max_age_seconds`",
            )
        return FetchResult(entry.value, "l2", self._max_age - age)

    def _bounded(self, fetched: FetchResult) -> FetchResult:
        """Let what may have changed elsewhere without notice live for a second at most."""
        subscription = self._subscription
        if subscription.alive if subscription is not None else not self._is_watched():
            return fetched
        life = _DEAF_SECONDS if fetched.life is None else min(fetched.life, _DEAF_SECONDS)
        return replaced(fetched, life=life)

    def _is_watched(self) -> bool:
        return isinstance(self._store.store, WatchableStore)

    # --- what other processes drop ---

    def _begin_again(self) -> None:
        self._lock = SingleEntryLock("the cache")
        self._listens = False
        self._subscription = None
        self._naming = threading.RLock()

    def _listen(self) -> None:
        if self._listens:
            return
        with self._lock:
            if self._listens:
                return
            self._listens = True
        store = self._store.store
        if isinstance(store, WatchableStore):
            me = weakref.ref(self)
            self._subscription = subscription = store.subscribe(lambda name: _heard(me, name))
            # One that is dropped without `close` must not leave a thread and a connection behind.
            weakref.finalize(self, _let_go, subscription, self._store).atexit = False

    def _name(self, tenant: str | None, key: str) -> str:
        name = self._sealing.name(tenant, key)
        self._remember(name, tenant, key)
        return name

    def _remember(self, name: str, tenant: str | None, key: str) -> None:
        with self._lock:
            self._known.setdefault(name, set()).add((tenant, key))
            if len(self._known) > self._most_known:
                held = {
                    one: {its for its in whose if self._l1.holds(*its)} for one, whose in self._known.items()
                }
                self._known = {one: whose for one, whose in held.items() if whose}
                self._most_known = 2 * len(self._known) + _FEW

    def _dropped(self, name: str | None) -> None:
        if name is None:
            self._l1.forget_all()
            return
        with self._lock:
            known = list(self._known.get(name, ()))
        for tenant, key in known:
            self._l1.forget(tenant, key)


def _mark_of(data: Any, needed_until: float) -> str | None:
    """Return a mark that lives for as long as what is kept under it; None for any other."""
    try:
        mark = bytes(data).decode() if data is not None else ""
        _, _, until = mark.partition(" ")
        return mark if float(until) >= needed_until else None
    except (TypeError, ValueError):
        return None


def _let_go(subscription: Subscription, store: ResilientStore) -> None:
    """End what a cache listens on that is not used any more; not here, as that may take a moment."""
    store.close()
    with contextlib.suppress(RuntimeError):  # the interpreter is on its way out
        threading.Thread(target=subscription.close, name="strongroom-cache-end", daemon=True).start()


def _heard(me: weakref.ref[HierarchicalSecretCache], name: str | None) -> None:
    cache = me()
    if cache is not None:
        cache._dropped(name)  # noqa: SLF001  # the module's own
