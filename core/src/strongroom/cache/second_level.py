"""The entries that a cache keeps in a store which several processes share: their names, marks and times.

An entry is kept under the marks of the places that its value was read from. Dropping a mark, as a write on
any host does, makes all entries under it out of date.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Literal

from strongroom.cache.entry_codec import EntryCodec, StoredEntry
from strongroom.cache.resilient_store import ResilientStore
from strongroom.cache.single_flight import FetchResult
from strongroom.errors import ValidationError
from strongroom.parallel import SingleEntryLock, renew_after_fork
from strongroom.runtime.frozen import replaced
from strongroom.runtime.logs import logger
from strongroom.tenancy import current_tenant

__all__ = ["SecondLevel"]

_SKEW_SECONDS: Final = 1.0
"""How far another host's clock may be ahead; an entry that was fetched later than that is dropped."""
_MARK_SECONDS: Final = 86_400.0
_ACCOUNT_PAUSE: Final = 60.0
_MOST_UNDROPPED: Final = 10_000
_FEW: Final = 1024
_log = logger("strongroom.cache")
Marks = tuple[str, ...] | None
"""The marks of an entry's sources, None where they are not known."""
Fence = tuple[str, Marks]
"""The name of a mark that every invalidation drops, and the mark."""
_Drop = tuple[Literal["source", "key", "fence", "tenant"], str | None, str]
"""What is to be dropped: its kind, the tenant that it belongs to or that is meant, and the source or key."""


class SecondLevel:
    """Reads and writes the entries of one cache in its store.

    Args:
        store: Where they are.
        codec: Gives their names, and encrypts them.
        ttl_seconds: How long an entry is fresh.
        stale_seconds: How long past that it may be given while the backend is unavailable.
        keep_seconds: How long the store keeps it.
        sources: Returns for a key where its value is stored; see `HierarchicalSecretCache`.
        account: Asked once for what else decides which secrets are meant; see `HierarchicalSecretCache`.
        holds: Returns whether the process has an entry of a tenant's key, or a fetch under way.
        clock: Monotonic seconds.
        wall: Seconds since the epoch.
    """

    def __init__(
        self,
        store: ResilientStore,
        codec: EntryCodec,
        *,
        ttl_seconds: float,
        stale_seconds: float,
        keep_seconds: float,
        sources: Callable[[str], list[str]],
        account: Callable[[], str] | None,
        holds: Callable[[str | None, str], bool],
        clock: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self._store = store
        self._codec = codec
        self._ttl, self._stale, self._keep = ttl_seconds, stale_seconds, keep_seconds
        self._sources = sources
        self._account, self._account_suffix = account, ""
        self._account_asked_again = float("-inf")
        self._undropped: set[_Drop] = set()
        self._holds = holds
        self._known: dict[str, set[tuple[str | None, str]]] = {}
        self._most_known = _FEW
        self._clock, self._wall = clock, wall
        self._begin_again()
        renew_after_fork(self, SecondLevel._begin_again)

    def _begin_again(self) -> None:
        self._lock = SingleEntryLock("the cache")
        self._naming = threading.RLock()

    # --- names ---

    def is_named(self) -> bool:
        """Return whether the names in the store are known: the account that is logged in may decide them."""
        if self._account is None:
            return True
        with self._naming:
            if self._account is None:
                return True
            if self._clock() < self._account_asked_again:
                return False
            try:
                account = self._account()
            except Exception as error:  # noqa: BLE001  # a provider may be a third party's
                self._account_asked_again = self._clock() + _ACCOUNT_PAUSE
                _log.warning(
                    "the second level of the cache is not used: its provider's account is not known (%s)",
                    type(error).__name__,
                )
                return False
            self._codec, self._account_suffix = self._codec.within(account), f"\0{account}"
            owed, self._undropped = self._undropped, set()
            self._drop_named(owed)
            self._account = None  # only now: nobody reads what was to be dropped
        return True

    def has_names(self) -> bool:
        """Return whether `is_named` would say so without asking."""
        return self._account is None

    def name(self, tenant: str | None, key: str) -> str:
        """Return the name of the entry of `key`, and remember that it is of this key."""
        name = self._codec.name(tenant, key)
        self._remember(name, tenant, key)
        return name

    def marks(self, tenant: str | None, key: str) -> list[str]:
        """Return the names of the marks of the sources of `key`, and remember that they are of this key."""
        names = [self._codec.marks(source + self._account_suffix)[0] for source in self._sources(key)]
        for name in names:
            self._remember(name, tenant, key)
        return names

    def keys_of(self, name: str) -> list[tuple[str | None, str]]:
        """Return the tenants and keys for which `name` was used here."""
        with self._lock:
            return list(self._known.get(name, ()))

    def _remember(self, name: str, tenant: str | None, key: str) -> None:
        with self._lock:
            self._known.setdefault(name, set()).add((tenant, key))
            if len(self._known) > self._most_known:
                held = {
                    one: {its for its in whose if self._holds(*its)} for one, whose in self._known.items()
                }
                self._known = {one: whose for one, whose in held.items() if whose}
                self._most_known = 2 * len(self._known) + _FEW

    # --- dropping ---

    def refuse_inner_write(self) -> None:
        """Refuse a write that could not be dropped; see `SecretCache.refuse_inner_write`."""
        self._lock.refuse_owner()
        self._store.refuse_inner_write()

    def drop_keys(self, keys: Iterable[str]) -> None:
        """Drop the entries of these keys of the active tenant."""
        tenant = current_tenant()
        self._drop([("key", tenant, key) for key in keys])

    def invalidate(self, key: str) -> None:
        """Drop the entry of a key of the active tenant, and let no fetch that is under way be kept."""
        tenant = current_tenant()
        self._drop([("fence", tenant, ""), ("key", tenant, key)])

    def drop_source(self, source: str) -> None:
        """Drop what was read from `source`, by any tenant and through any pipeline."""
        self._drop([("source", None, source)])

    def drop_tenant(self) -> bool:
        """Drop all of the active tenant; return whether that was done, and does not wait for names."""
        tenant = current_tenant()
        return self._drop([("fence", tenant, ""), ("tenant", tenant, "")])

    def drop_all(self) -> None:
        """Drop everything of every tenant, also what other caches keep there."""
        self._store.clear(self._codec.mark_spaces())

    def owes_drops(self) -> bool:
        """Return whether something is still to be dropped."""
        return bool(self._undropped) or self._store.owes()

    def _drop(self, what: list[_Drop]) -> bool:
        """Drop `what` and return True, or take note of it until its names are known."""
        if not self.is_named() and self._is_noted(what):
            return False
        self._drop_named(what)
        return True

    def _drop_named(self, what: Iterable[_Drop]) -> None:
        fences: list[str] = []
        names: list[str] = []
        spaces: list[str] = []
        for kind, tenant, text in what:
            if kind == "source":
                names += self._codec.marks(text + self._account_suffix)
            elif kind == "key":
                names += self._codec.names(tenant, text)
            elif kind == "fence":
                fences += self._codec.fences(tenant)
            else:
                spaces += self._codec.namespaces(tenant)
        if fences or names:
            # Fences first: what was kept before one fell is among the names that are dropped after it.
            self._store.drop(names, fences=fences)
        if spaces:
            self._store.clear(spaces)

    def _is_noted(self, what: list[_Drop]) -> bool:
        """Take note of what is to be dropped; return False if another thread has learned its names."""
        with self._naming:
            if self._account is None:
                return False
            self._undropped.update(what)
            if len(self._undropped) <= _MOST_UNDROPPED:
                return True
            self._undropped.clear()
        self.drop_all()  # these names are known
        return True

    # --- marks and entries ---

    def read_marks(self, names: list[str], *, make: bool = False) -> Marks:
        """Return the marks of these names, or None if one is missing; with `make`, missing ones are made."""
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

    def look(self, name: str, marks: Marks) -> StoredEntry | None:
        """Return the entry of this name that is kept under these marks."""
        found = self._store.get_with_life(name) if marks is not None else None
        if found is None:
            return None
        data, left = found
        try:
            entry = self._codec.open(name, data)
        except Exception as error:  # noqa: BLE001  # a cipher may be a server, and that may be down
            self._store.failed(error)
            return None
        # If it was fetched in the future, a clock is wrong, and its age is not known.
        if entry is None or entry.fetched_at > self._wall() + _SKEW_SECONDS:
            self._store.drop_unreadable(name)
            return None
        if entry.marks != marks:
            return None  # its source was written to since then
        return self._by_own_clock(entry, left)

    def _by_own_clock(self, entry: StoredEntry, left: float | None) -> StoredEntry:
        """Return `entry` with times by this host's clock; its age is the greater of its own and the store's.

        The clock of the host that wrote it may have been ahead. Its own times count only if they make it
        older, so that somebody who can write to the store cannot lengthen a life either.
        """
        fetched_at, life = entry.fetched_at, min(entry.expires - entry.fetched_at, self._ttl)
        if left is not None:
            fetched_at = min(fetched_at, self._wall() - (entry.kept_for - left))
        return replaced(entry, fetched_at=fetched_at, expires=min(entry.expires, fetched_at + life))

    def fence(self, tenant: str | None) -> Fence:
        """Return what `put_many` needs from before the fetch: it sees whether anything was dropped since."""
        name = self._codec.fences(tenant)[0]
        return name, self.read_marks([name], make=True)

    def fence_if_needed(self, tenant: str | None) -> Fence | None:
        """Return `fence` for a single entry, None if the token of its lock is enough for the store."""
        return None if self._store.is_fenced() else self.fence(tenant)

    def put(self, name: str, fetched: FetchResult, token: int, marks: Marks, fence: Fence | None) -> None:
        """Keep what was fetched under the lock on `name`, unless its marks are not known, or it was dropped.

        Args:
            name: The entry's name.
            fetched: Its value.
            token: What the lock gave.
            marks: The marks of its sources from before the fetch.
            fence: What `fence_if_needed` returned before the fetch.
        """
        if fence is None:
            self._put(name, fetched, token, marks)
        else:
            self.put_many({name: (fetched, marks)}, fence)

    def put_many(self, kept: Mapping[str, tuple[FetchResult, Marks]], fence: Fence) -> None:
        """Keep what was fetched, by name and with its marks, unless something was dropped since `fence`."""
        name, before = fence
        if not kept or self.read_marks([name]) != before:
            return
        for entry, (fetched, marks) in kept.items():
            self._put(entry, fetched, None, marks)
        if self.read_marks([name]) != before:  # in between: who dropped it may have been too early for these
            self._store.drop(list(kept))

    def _put(self, name: str, fetched: FetchResult, token: int | None, marks: Marks) -> None:
        if marks is None:
            return
        now = self._wall()
        life = self._ttl if fetched.max_age is None else min(self._ttl, fetched.max_age)
        try:
            kept = StoredEntry(fetched.value, now, now + life, self._keep, fetched.version, marks)
            data = self._codec.seal(name, kept)
        except ValidationError:
            return  # not Unicode text: it cannot be stored here, and the caller still gets it
        except Exception as error:  # noqa: BLE001  # see `look`
            self._store.failed(error)
            return
        self._store.set(name, data, self._keep, token)

    # --- whether an entry may be given now ---

    def serves(self, entry: StoredEntry, version: str | None) -> bool:
        """Return whether a value is fresh, and not older than the version that a description showed here."""
        return self._wall() < entry.expires and (version is None or entry.version == version)

    def age(self, entry: StoredEntry) -> float:
        """Return how many seconds ago a value was fetched."""
        return self._wall() - entry.fetched_at

    def fresh(self, entry: StoredEntry) -> FetchResult:
        """Return the result of reading an entry that is fresh."""
        return FetchResult(entry.value, "l2", min(entry.expires - self._wall(), self._ttl), entry.version)

    def stale(self, entry: StoredEntry | None) -> FetchResult | None:
        """Return the result of reading an entry while the backend is unavailable; None if it is too old."""
        if entry is None or self._wall() >= entry.expires + self._stale:
            return None
        return FetchResult(entry.value, "stale", min(entry.expires - self._wall(), -0.0))


def _mark_of(data: Any, needed_until: float) -> str | None:
    """Return the mark in `data` if it lives until `needed_until`, else None."""
    try:
        mark = bytes(data).decode() if data is not None else ""
        _, _, until = mark.partition(" ")
        return mark if float(until) >= needed_until else None
    except (TypeError, ValueError):
        return None
