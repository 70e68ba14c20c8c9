"""Opening a sealed store, verifying what is read from it, and writing on top of what was read."""

from __future__ import annotations

import os
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Final, Generic, NamedTuple, NoReturn, TypeVar

from strongroom.deadlines import Deadline, DeadlineExceededError, check_limits, held_within
from strongroom.encryption.keyfiles import old_key_file
from strongroom.encryption.keys import HoldsKey, KeyMaterial
from strongroom.errors import (
    BackendUnavailableError,
    ConfigurationError,
    ConflictError,
    DecryptionError,
    SecretNotFoundError,
    SecretTooLargeError,
    TamperedError,
    show_key,
)
from strongroom.keys import check_value
from strongroom.parallel import renew_after_fork
from strongroom.providers import BaseProvider, SecretMetadata
from strongroom.sealed.backend import Change, Found, SealedBackend, StoreGoneError
from strongroom.sealed.cipher import HEAD, ROW, SealedName, Sealer
from strongroom.sealed.header import header_id, new_header, open_header
from strongroom.sealed.key_source import StoreKeySource
from strongroom.sealed.record import Record
from strongroom.sealed.seen import Seen, SeenStates

__all__ = ["B", "Plan", "SealedEngine", "Step", "Store", "new_epoch", "time_of"]

T = TypeVar("T")
B = TypeVar("B", bound=SealedBackend)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def _now() -> datetime:
    return datetime.now(UTC)


def time_of(stored: int) -> datetime:
    """Return the time that is stored as microseconds since 1970."""
    return _EPOCH + stored * _MICROSECOND


class Step(NamedTuple):
    """The result of planning an operation: next record, value of the new row, rows to drop, answer."""

    record: Record
    value: bytes
    dropped: tuple[int, ...]
    result: str


Plan = Callable[[Record | None], Step]


class Store(NamedTuple):
    """A store whose header was read."""

    sealer: Sealer
    header: bytes
    material: KeyMaterial


class SealedEngine(HoldsKey, BaseProvider, ABC, Generic[B]):
    """The base of `SealedSecretProvider`, which describes the arguments."""

    def __init__(
        self,
        source: StoreKeySource,
        *,
        max_value_bytes: int,
        max_versions: int = 100,
        destroy_on_delete: bool = False,
        timeout: float = 10.0,
        deadline: float | None = None,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        check_limits(
            self.type_name, counts={"max_versions": max_versions}, timeout=timeout, deadline=deadline
        )
        if max_versions > 1000:  # noqa: PLR2004  # as documented
            raise ConfigurationError(
                f"max_versions must be between 1 and 1000, got {max_versions}", provider=self.type_name
            )
        self._source = source
        self._max_value_bytes = max_value_bytes
        self._max_versions = max_versions
        self._destroy = destroy_on_delete
        self._timeout = timeout
        self._whole = deadline
        self._clock = clock
        self._opened: Store | None = None
        self._seen = SeenStates()
        self._derived = 0.0
        """Seconds for which keys were derived."""
        self._after_fork()
        renew_after_fork(self, SealedEngine._after_fork)

    @abstractmethod
    def _connect_backend(self) -> B:
        """Import what the server's client needs, and return the backend; no request is made yet."""

    @cached_property
    def _backend(self) -> B:
        with self._lock:
            return vars(self).get("_backend") or self._connect_backend()

    def _micros(self) -> int:
        return (self._clock() - _EPOCH) // _MICROSECOND

    def _deadline(self, secrets: int = 0) -> Deadline:
        """Return the deadline of a request that begins now; a batch has a timeout for each hundred."""
        if not secrets:
            return Deadline(self._timeout)
        return Deadline(self._timeout * (1 + secrets // 100), Deadline(self._whole))

    def _part(self, whole: Deadline) -> Deadline:
        return Deadline(self._timeout, whole)

    def _late(self, doing: str, key: str | None = None) -> BackendUnavailableError:
        about = f" {show_key(key)}" if key is not None else ""
        return BackendUnavailableError(
            f"{self.type_name}: {doing}{about}: no answer in time from {self._shown()}",
            key=key,
            provider=self.type_name,
            hint="the outcome of a write is then unknown: read before you repeat it"
            if doing == "write"
            else "check the server and the network; a longer `timeout` may help",
        )

    def _with_store(
        self,
        work: Callable[[Store], T],
        key: str | None,
        absent: Callable[[], T],
        deadline: Deadline,
        doing: str = "read",
        *,
        whole: Deadline | None = None,
    ) -> T:
        """Return what `work` returns for the open store, or `absent` if there is none.

        If stored data does not fit, the header is read again: another host may have made another store. The
        store is opened before `deadline`, to which `work` keeps as well; or to `whole`, if it makes many
        requests.
        """
        try:
            store = self._opened or self._open(deadline)
            if store is None:
                return absent()
            try:
                return work(store)
            except (TamperedError, StoreGoneError) as error:
                again = self._reopened(store, error, deadline if whole is None else self._part(whole))
            return work(again)
        except StoreGoneError:
            pass
        except DeadlineExceededError:
            raise self._late(doing, key) from None
        raise self._tampered(key, f"the store at {self._shown()} is gone", "restore a backup")

    def _reopened(self, store: Store, error: Exception, deadline: Deadline) -> Store:
        """Open the store again if its header has changed; else raise `error`."""
        try:
            header = self._backend.header(deadline)
        except StoreGoneError:
            header = store.header if isinstance(error, TamperedError) else b""
        if header in {b"", store.header}:
            raise error
        with self._opening(deadline):
            self._opened = None
            again = self._open(deadline)
        if again is None:
            raise error
        return again

    @contextmanager
    def _opening(self, deadline: Deadline) -> Iterator[None]:
        """Hold the lock for a block that opens the store, unless another thread has it until the deadline.

        What that thread needs to derive a key from a passphrase is not counted, as it is not for itself.

        Raises:
            DeadlineExceededError: It has.
        """
        while True:
            before = self._derived
            with held_within(self._lock, deadline.remaining()) as held:
                if held:
                    yield
                    return
            with self._deriving:
                derived = self._derived - before
            if not derived:
                raise DeadlineExceededError
            deadline.end += derived

    def _open(self, deadline: Deadline) -> Store | None:
        with self._opening(deadline):
            refused = None
            while self._opened is None:
                try:
                    header = self._backend.header(deadline)
                except StoreGoneError:
                    return None
                try:
                    self._opened = self._unlocked(header, deadline)
                except DecryptionError:
                    if header == refused:  # else a rekey may just have replaced the header, then the key file
                        raise
                    refused = header
            return self._opened

    def _unlocked(self, header: bytes, deadline: Deadline) -> Store:
        """Return the store of `header`; the caller has the lock.

        What was seen of its secrets counts on, unless it is another store: not after a rekey. The derivation
        of a key from a passphrase takes this machine's time, so no deadline counts it.
        """
        began = time.monotonic()
        with self._deriving:
            try:
                unlocked = open_header(header, self._source.candidates())
            except ValueError as error:
                raise self._tampered(None, f"{self._shown()}: {error}") from None
            finally:
                took = time.monotonic() - began
                self._derived += took
        deadline.end += took
        if unlocked is None:
            raise self._wrong_key(header)
        opened, material = unlocked
        self._seen.belong_to(opened.store)
        return Store(Sealer(opened), header, material)

    def _wrong_key(self, header: bytes) -> DecryptionError:
        key_id = header_id(header)
        hint = "give the key the store was made with; if you did, the store's header was changed"
        path = self._source.path
        old = old_key_file(path, key_id) if path is not None else None
        if old is not None and old.exists():
            hint = f"that key is in {old}: a rekey left it there"
        return DecryptionError(
            f"wrong key for {self._shown()}: it needs the key {key_id}", provider=self.type_name, hint=hint
        )

    def _created(self, deadline: Deadline) -> Store:
        """Make the store, or take the one that another host has just made."""
        with self._opening(deadline):
            if self._opened is None:
                header = self._backend.create(new_header(self._source.create()), deadline)
                self._opened = self._unlocked(header, deadline)
            return self._opened

    def _shown(self) -> str:
        """Return the address for messages; it holds no credentials."""
        return self.type_name

    def _write(self, plans: Mapping[str, Plan], deadline: Deadline, *, create: bool = True) -> dict[str, str]:
        """Do all `plans` in one transaction, and return the result of each."""
        first = next(iter(plans)) if len(plans) == 1 else None

        def work(store: Store) -> dict[str, str]:
            return self._written(store, plans, deadline, guess=create)

        def absent() -> dict[str, str]:
            if create:
                return work(self._created(deadline))
            for plan in plans.values():
                plan(None)
            raise AssertionError("a plan for an absent secret raises")

        return self._with_store(work, first, absent, deadline, "write")

    def _written(
        self, store: Store, plans: Mapping[str, Plan], deadline: Deadline, *, guess: bool
    ) -> dict[str, str]:
        names = {key: store.sealer.name(key) for key in plans}
        known: dict[str, Seen | None] = {key: self._seen.get(name.name) for key, name in names.items()}
        sure = False
        if not guess and None in known.values():
            known, sure = self._present(store, names, deadline), True
        ours: dict[str, set[bytes]] = {key: set() for key in plans}
        while True:
            try:
                steps = {key: self._step(plan, known[key]) for key, plan in plans.items()}
            except (SecretNotFoundError, ConflictError):
                if sure:
                    raise
                known, sure = self._present(store, names, deadline), True
                continue
            changes = [self._change(store, names[key], known[key], step) for key, step in steps.items()]
            conflicts = self._backend.write(changes, deadline)
            records = {
                key: Seen(step.record, one.head)
                for (key, step), one in zip(steps.items(), changes, strict=True)
            }
            if conflicts is None:
                for key, seen in records.items():
                    self._seen.note(names[key].name, seen)
                return {key: step.result for key, step in steps.items()}
            for key, seen in records.items():
                ours[key].add(seen.head)
            known = self._after_conflict(store, names, known, conflicts)
            if all(known[key] is not None and known[key].head in ours[key] for key in plans):  # type: ignore[union-attr]  # None was ruled out
                # The conflict is with our own write, whose answer was lost.
                return {key: known[key].record.version_id(known[key].record.number) for key in plans}  # type: ignore[union-attr]  # as above
            sure = False

    @staticmethod
    def _step(plan: Plan, known: Seen | None) -> Step:
        return plan(known.record if known is not None else None)

    def _change(self, store: Store, name: SealedName, known: Seen | None, step: Step) -> Change:
        record = step.record
        return Change(
            name.name,
            known.head if known is not None else None,
            store.sealer.seal(HEAD, name, 0, record.pack()),
            record.number,
            record.low,
            store.sealer.seal(ROW, name, record.number, step.value),
            step.dropped,
            record.changed == record.number,
        )

    def _after_conflict(
        self,
        store: Store,
        names: Mapping[str, SealedName],
        known: Mapping[str, Seen | None],
        conflicts: Mapping[bytes, bytes | None],
    ) -> dict[str, Seen | None]:
        heads: dict[str, Seen | None] = dict(known)
        for key, name in names.items():
            if name.name not in conflicts:
                continue
            head = conflicts[name.name]
            if head is None:
                if known[key] is not None:
                    raise self._removed(key)
                heads[key] = None
                continue
            record = self._head(store, key, name, head)
            before = known[key]
            # The same head is not another state: a server that waited for another writer may answer so.
            if before is not None and head != before.head and record.number <= before.record.number:
                raise self._older(key)
            heads[key] = Seen(record, head)
        return heads

    def _present(
        self, store: Store, names: Mapping[str, SealedName], deadline: Deadline
    ) -> dict[str, Seen | None]:
        floors = {key: self._seen.get(name.name) for key, name in names.items()}
        found = self._backend.heads([name.name for name in names.values()], deadline)
        known: dict[str, Seen | None] = {}
        for key, name in names.items():
            one = found.get(name.name)
            record = self._verified(store, key, name, one, floors[key])
            known[key] = Seen(record, one.head) if record is not None and one is not None else None
        return known

    def _record(self, key: str, *, live: bool = True) -> Record:
        record = self._records([key]).get(key)
        if record is None:
            raise self._absent(key)
        if live and not record.current:
            raise self._gone(key, record)
        return record

    def _records(self, keys: Sequence[str]) -> dict[str, Record]:
        deadline = self._deadline(len(keys) if len(keys) > 1 else 0)
        return self._with_store(lambda store: self._fetched(store, keys, deadline), None, dict, deadline)

    def _fetched(self, store: Store, keys: Sequence[str], deadline: Deadline) -> dict[str, Record]:
        names = {key: store.sealer.name(key) for key in keys}
        found = self._present(store, names, deadline)
        return {key: one.record for key, one in found.items() if one is not None}

    def _described(self, record: Record) -> SecretMetadata:
        version = record.version_id(record.current)
        return SecretMetadata(record.key, version, time_of(record.created), time_of(record.updated))

    def _verified(
        self, store: Store, key: str, name: SealedName, stored: Found | None, floor: Seen | None
    ) -> Record | None:
        """Return the record in a head, or None if there is none; see `_fitting`."""
        if stored is None:
            if floor is not None:
                raise self._removed(key)
            return None
        record = self._fitting(store, key, name, stored, floor)
        if floor is None or floor.head != stored.head:
            self._seen.note(name.name, Seen(record, stored.head))
        return record

    def _fitting(
        self, store: Store, key: str | None, name: SealedName, stored: Found, floor: Seen | None
    ) -> Record:
        """Return the record in a head, if it fits its rows and is not older than one that was seen before."""
        if floor is None or floor.head != stored.head:
            record = self._opened_head(store, key, name, stored)
            if floor is not None and record.number <= floor.record.number:
                raise self._older(record.key)
            return record
        record = floor.record
        if not stored.rows or stored.rows[-1][0] != record.number:
            raise self._unmatched(record.key)
        return record

    def _opened_head(self, store: Store, key: str | None, name: SealedName, found: Found) -> Record:
        record = self._head(store, key, name, found.head)
        if not found.rows or found.rows[-1][0] != record.number:
            raise self._unmatched(record.key)
        return record

    def _head(self, store: Store, key: str | None, name: SealedName, head: bytes) -> Record:
        data = store.sealer.open(HEAD, name, 0, head)
        if data is None:
            what = f"secret {show_key(key)}" if key is not None else "a secret"
            raise self._tampered(key, f"{what} is damaged, or another one was put in its place")
        record = Record.unpack(data)
        if key is not None and record.key != key:
            raise self._tampered(key, f"secret {show_key(key)} is another one")
        return record

    def _current(
        self, store: Store, key: str, name: SealedName, record: Record, stored: Found, *, deadline: Deadline
    ) -> str:
        number, body = stored.rows[0]
        if number == record.current:
            return self._row(store, key, name, number, body)
        # The backend returned only the last row, which is that of an operation without a value.
        late = self._backend.row(name.name, record.current, deadline)
        if late is not None:
            return self._row(store, key, name, record.current, late)
        floor = self._seen.get(name.name)  # before the read: another thread may see a newer state meanwhile
        again = self._backend.read([name.name], deadline).get(name.name)
        if again is None or again.head == stored.head:
            raise self._tampered(key, f"the current version of {show_key(key)} is gone")
        newer = self._verified(store, key, name, again, floor)
        if newer is None or not newer.current:
            raise self._absent(key) if newer is None else self._gone(key, newer)
        return self._current(store, key, name, newer, again, deadline=deadline)

    def _row(self, store: Store, key: str, name: SealedName, number: int, body: bytes) -> str:
        data = store.sealer.open(ROW, name, number, body)
        if data is None:
            raise self._tampered(key, f"a version of {show_key(key)} is damaged, or another one's")
        return data.decode()

    def _encoded(self, key: str, value: str) -> bytes:
        data = check_value(value, key).encode()
        if len(data) > self._max_value_bytes:
            raise SecretTooLargeError(
                key,
                f"the value for {show_key(key)} is longer than {self._max_value_bytes} bytes",
                provider=self.type_name,
            )
        return data

    def _absent(self, key: str) -> SecretNotFoundError:
        return SecretNotFoundError(key, provider=self.type_name)

    def _missing(self, key: str) -> NoReturn:
        raise self._absent(key)

    def _gone(self, key: str, record: Record) -> SecretNotFoundError:
        """Return the error for a secret whose record has no current version."""
        if record.deleted:
            return SecretNotFoundError(
                key,
                reason="deleted",
                provider=self.type_name,
                hint="`recover_secret` brings it back; `set` begins it again",
            )
        if any(True for _ in record.kept()) or record.created == 0:
            return self._absent(key)  # staged only
        return SecretNotFoundError(key, reason="destroyed", provider=self.type_name)

    def _no_store(self) -> NoReturn:
        raise ConfigurationError(
            f"there is no store at {self._shown()}",
            provider=self.type_name,
            hint="the first `set` makes it",
        )

    def _tampered(self, key: str | None, what: str, hint: str | None = None) -> TamperedError:
        return TamperedError(f"{self.type_name}: {what}", key=key, provider=self.type_name, hint=hint)

    def _unmatched(self, key: str) -> TamperedError:
        return self._tampered(key, f"secret {show_key(key)} does not match its versions")

    def _removed(self, key: str) -> TamperedError:
        return self._tampered(key, f"secret {show_key(key)} was removed", _RESTORED)

    def _older(self, key: str) -> TamperedError:
        return self._tampered(
            key,
            f"secret {show_key(key)} was put back to an older state than this process has seen",
            _RESTORED,
        )

    def _after_fork(self) -> None:
        self._lock = threading.RLock()
        """Held by the thread that opens the store, which asks the server."""
        self._deriving = threading.RLock()
        """Held beside it while that thread derives a key."""
        self._seen.after_fork()


_RESTORED: Final = (
    "if a backup was restored, or a replica that lagged took over, restart this process: "
    "it then accepts what is there"
)


def new_epoch() -> int:
    """Return the random number of an epoch: ids of versions in different epochs differ."""
    return int.from_bytes(os.urandom(4), "big")
