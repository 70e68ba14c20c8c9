"""A provider with every capability, over a server that gets only sealed names and values."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from strongroom.deadlines import Deadline, DeadlineExceededError
from strongroom.encryption.keys import KeyMaterial, read_key
from strongroom.errors import (
    ConfigurationError,
    ConflictError,
    SecretNotFoundError,
    TamperedError,
    show_key,
)
from strongroom.keys import cannot_start_key, check_key, check_keys, check_prefix, is_reserved
from strongroom.providers import Closeable, SecretChange, SecretMetadata, SecretVersion, expect_version
from strongroom.providers.metadata import ChangeKind, VersionState
from strongroom.sealed.backend import Found
from strongroom.sealed.cipher import SealedName
from strongroom.sealed.engine import B, Plan, SealedEngine, Step, Store, new_epoch, time_of
from strongroom.sealed.header import header_id, open_header, wrap
from strongroom.sealed.locks import held_lock
from strongroom.sealed.record import PENDING, Record, Version
from strongroom.sealed.seen import Seen

__all__ = ["SealedSecretProvider"]

_LOOKED_AT: Final = 200
"""Secrets that `verify` reads at once."""


class SealedSecretProvider(SealedEngine[B]):
    """Secrets on a server that many hosts share, with every capability; what the server has is sealed.

    A secret has a head, which holds its state, and rows. Every operation adds a row and replaces the head, if
    it is still the one that the operation was planned on. The head and the last row must have the same
    number: if one of them alone was put back, swapped or removed, the next read finds that, and it finds any
    state that is older than one that this process has seen.

    Args:
        source: The user's key.
        max_value_bytes: The longest value, in bytes of UTF-8.
        max_versions: Versions kept of each secret, 1 to 1,000; current and pending ones are never dropped.
        destroy_on_delete: Whether a delete drops all versions for good.
        timeout: Seconds for one operation or page.
        deadline: Seconds for a whole list or batch; None: no limit.
        clock: Returns the aware time now.
    """

    # --- reading ---

    def get_secret(self, key: str) -> str:
        check_key(key)
        value = self._value(key)
        if value is None:
            raise self._absent(key)
        return value

    def get_secrets(self, keys: Iterable[str]) -> dict[str, str]:
        wanted = check_keys(keys)
        if not wanted:
            return {}
        deadline = self._deadline(len(wanted))

        def read(store: Store) -> dict[str, str]:
            names = [store.sealer.name(key) for key in wanted]
            floors = [self._seen.get(one.name) for one in names]
            stored = self._backend.read([one.name for one in names], deadline)
            values = {}
            for key, name, floor in zip(wanted, names, floors, strict=True):
                record = self._verified(store, key, name, stored.get(name.name), floor)
                if record is None:
                    continue
                if not record.current:
                    error = self._gone(key, record)
                    if error.reason != "absent":
                        raise error
                    continue
                values[key] = self._current(store, key, name, record, stored[name.name], deadline=deadline)
            return values

        return self._with_store(read, None, dict, deadline)

    def _value(self, key: str) -> str | None:
        deadline = self._deadline()

        def read(store: Store) -> str | None:
            name = store.sealer.name(key)
            floor = self._seen.get(name.name)
            stored = self._backend.read([name.name], deadline).get(name.name)
            record = self._verified(store, key, name, stored, floor)
            if record is None or stored is None:
                return None
            if not record.current:
                raise self._gone(key, record)
            return self._current(store, key, name, record, stored, deadline=deadline)

        return self._with_store(read, key, lambda: None, deadline)

    def list_secrets(self, prefix: str = "") -> list[str]:
        check_prefix(prefix)
        if cannot_start_key(prefix):
            return []
        whole = Deadline(self._whole)

        def read(store: Store) -> list[str]:
            keys: list[str] = []
            start = store.sealer.folder(prefix)
            known = self._seen.all()  # before the first page, for others go on writing
            for page in self._backend.scan(start, lambda: self._part(whole)):
                for name, one in page:
                    sealed = SealedName(name, store.sealer.cipher(name))
                    record = self._fitting(store, None, sealed, one, known.pop(name, None))
                    key = record.key
                    if record.current and key.startswith(prefix) and not is_reserved(key):
                        keys.append(key)
            for name, seen in known.items():
                if name.startswith(start):
                    raise self._removed(seen.record.key)
            return sorted(keys)

        return self._with_store(read, None, list, self._part(whole), whole=whole)

    def describe_secret(self, key: str) -> SecretMetadata:
        record = self._record(check_key(key))
        return self._described(record)

    def describe_secrets(self, keys: Iterable[str]) -> dict[str, SecretMetadata]:
        asked = check_keys(keys)
        found = self._records(asked) if asked else {}
        return {key: self._described(record) for key, record in found.items() if record.current}

    def list_versions(self, key: str) -> list[SecretVersion]:
        record = self._record(check_key(key), live=False)
        if not record.current and not any(True for _ in record.kept()):
            raise self._gone(key, record)

        def state(one: Version) -> VersionState:
            if one.number == record.current:
                return "current"
            if one.state == PENDING:
                return "pending"
            return "previous" if record.current or not record.deleted else "deleted"

        return [
            SecretVersion(record.version_id(one.number), time_of(one.made), state(one))
            for one in reversed(list(record.kept()))
        ]

    def get_secret_version(self, key: str, version: str) -> str:
        check_key(key)
        deadline = self._deadline()

        def read(store: Store) -> str:
            name = store.sealer.name(key)
            record = self._fetched(store, [key], deadline).get(key)
            if record is None:
                raise self._absent(key)
            entry = record.find(version)
            if entry is None:
                raise SecretNotFoundError(
                    key, f"secret {show_key(key)} has no such version", provider=self.type_name
                )
            if not record.current and record.deleted:
                raise self._gone(key, record)
            body = self._backend.row(name.name, entry.number, deadline)
            if body is None:
                # Another write may have dropped it since the head was read: look again.
                again = self._fetched(store, [key], deadline).get(key)
                if again is not None and again.find(version) is not None:
                    raise self._tampered(key, "a version is gone")
                raise SecretNotFoundError(
                    key, f"secret {show_key(key)} has no such version any more", provider=self.type_name
                )
            return self._row(store, key, name, entry.number, body)

        return self._with_store(read, key, lambda: self._missing(key), deadline)

    # --- writing ---

    def set_secret(self, key: str, value: str) -> None:
        data = self._encoded(check_key(key), value)
        self._write({key: self._setting(key, data)}, self._deadline())

    def set_secrets(self, values: Mapping[str, str]) -> None:
        encoded = {check_key(key): self._encoded(key, value) for key, value in values.items()}
        if encoded:
            plans = {key: self._setting(key, data) for key, data in encoded.items()}
            self._write(plans, self._deadline(len(plans)))

    def delete_secret(self, key: str) -> None:
        def plan(record: Record | None) -> Step:
            if record is None or not record.current:
                raise self._absent(key) if record is None else self._gone(key, record)
            after, dropped = record.removed(destroy=self._destroy)
            return Step(after, b"", dropped, "")

        self._write({check_key(key): plan}, self._deadline(), create=False)

    def recover_secret(self, key: str) -> None:
        """Bring back a secret that was deleted and not destroyed, as it was.

        Raises:
            SecretNotFoundError: There is nothing to recover.
            ConflictError: The secret is there.
        """

        def plan(record: Record | None) -> Step:
            if record is None:
                raise self._absent(key)
            if record.current:
                raise ConflictError(f"secret {show_key(key)} is there", key=key, provider=self.type_name)
            if not record.deleted:
                raise self._gone(key, record)
            after, dropped = record.recovered(self._micros())
            return Step(after, b"", dropped, "")

        self._write({check_key(key): plan}, self._deadline(), create=False)

    def destroy_secret(self, key: str) -> None:
        """Drop all versions of a secret for good, even if it was deleted before.

        Raises:
            SecretNotFoundError: There is nothing to destroy.
        """

        def plan(record: Record | None) -> Step:
            if record is None or not record.versions:
                raise self._absent(key) if record is None else self._gone(key, record)
            after, dropped = record.removed(destroy=True)
            return Step(after, b"", dropped, "")

        self._write({check_key(key): plan}, self._deadline(), create=False)

    def set_secret_if(self, key: str, value: str, expected_version: str | None) -> str:
        data = self._encoded(check_key(key), value)
        write = self._setting(key, data)

        def plan(record: Record | None) -> Step:
            self._expect(key, record, expected_version)
            return write(record)

        create = expected_version is None
        return self._write({key: plan}, self._deadline(), create=create)[key]

    def stage_secret(self, key: str, value: str) -> str:
        data = self._encoded(check_key(key), value)
        epoch = new_epoch()

        def plan(record: Record | None) -> Step:
            after, dropped = (record or Record(key)).staged(self._micros(), epoch)
            return Step(after, data, dropped, after.version_id(after.number))

        return self._write({key: plan}, self._deadline())[key]

    def promote_version(self, key: str, version: str, *, expected_version: str | None) -> None:
        def plan(record: Record | None) -> Step:
            record, found = self._pending(key, record, version)
            self._expect(key, record, expected_version)
            after, dropped = record.promoted(found, self._micros(), self._max_versions)
            return Step(after, b"", dropped, "")

        self._write({check_key(key): plan}, self._deadline(), create=False)

    def discard_version(self, key: str, version: str) -> None:
        def plan(record: Record | None) -> Step:
            record, found = self._pending(key, record, version)
            after, dropped = record.discarded(found)
            return Step(after, b"", dropped, "")

        self._write({check_key(key): plan}, self._deadline(), create=False)

    def _setting(self, key: str, data: bytes) -> Plan:
        epoch = new_epoch()

        def plan(record: Record | None) -> Step:
            after, dropped = (record or Record(key)).written(self._micros(), self._max_versions, epoch)
            return Step(after, data, dropped, after.version_id(after.number))

        return plan

    def _pending(self, key: str, record: Record | None, version: str) -> tuple[Record, Version]:
        if record is None:
            raise self._absent(key)
        entry = record.find(version)
        if entry is None:
            raise SecretNotFoundError(
                key, f"secret {show_key(key)} has no such version", provider=self.type_name
            )
        if entry.state != PENDING:
            state = "current" if entry.number == record.current else "previous"
            raise ConflictError(
                f"version {version} of {show_key(key)} is {state}, not pending",
                key=key,
                provider=self.type_name,
            )
        return record, entry

    def _expect(self, key: str, record: Record | None, expected: str | None) -> None:
        current = record.version_id(record.current) if record is not None and record.current else None
        expect_version(self.type_name, key, current, expected)

    # --- changes ---

    def subscribe_changes(self, callback: Callable[[list[SecretChange]], object]) -> Closeable:
        reported: dict[bytes, int] = {}

        def changed(written: Sequence[tuple[bytes, bytes | None]] | None) -> None:
            changes = self._changes(written, reported) if written is not None else None
            if changes is None or changes:
                callback(changes or [])

        try:
            return self._backend.subscribe(changed, self._deadline())
        except DeadlineExceededError:
            raise self._late("subscribe") from None

    def _changes(
        self, written: Sequence[tuple[bytes, bytes | None]], reported: dict[bytes, int]
    ) -> list[SecretChange] | None:
        """Return the changes of `written` that readers see, each once; None if they cannot be read now."""
        deadline = self._deadline()

        def read(store: Store) -> list[SecretChange]:
            asked = [name for name, head in written if head is None]
            stored = self._backend.heads(asked, deadline) if asked else {}
            now = self._clock()
            changes = []
            for name, expected in written:
                head = expected if expected is not None or name not in stored else stored[name].head
                if head is None:
                    continue
                record = self._head(store, None, SealedName(name, store.sealer.cipher(name)), head)
                if is_reserved(record.key) or record.changed <= reported.get(name, 0):
                    continue
                if expected is not None and record.changed != record.number:
                    continue  # staged or discarded
                reported[name] = record.changed
                current = record.version_id(record.current) if record.current else None
                kind: ChangeKind = "set" if current is not None else "deleted"
                changes.append(SecretChange(record.key, kind, current, now))
            return changes

        nothing: list[SecretChange] = []
        try:
            return self._with_store(read, None, lambda: nothing, deadline)
        except Exception:  # noqa: BLE001  # the subscriber then reads by itself, and gets the error
            return None

    @contextmanager
    def lock(self, name: str, *, ttl_seconds: float, wait_seconds: float) -> Iterator[int]:
        """Hold the lock of `name` for the block, which gets its fencing token, for `ttl_seconds` at most.

        It is a `lock` for `SecretRotation`, and for any other work that one host at a time must do.

        Raises:
            BackendUnavailableError: The server did not answer in time.
            ConflictError: Another held it for all of `wait_seconds`.
        """
        with ExitStack() as stack:
            try:
                # Looked for first: a key file that is missing beside a store is not made again.
                deadline = self._deadline()
                store = self._open(deadline) or self._created(deadline)
                sealed = store.sealer.name(f"lock/{name}").name
                lock = self._backend.lock(sealed, ttl_seconds, deadline)
                held = held_lock(lock, wait_seconds=wait_seconds, timeout=self._timeout)
                token = stack.enter_context(held)
            except DeadlineExceededError:
                raise self._late("lock") from None
            if token is None:
                raise ConflictError(
                    f"{self.type_name}: another process holds the lock {show_key(name)}",
                    provider=self.type_name,
                )
            yield token

    # --- the store itself ---

    def verify(self, *, versions: bool = False) -> list[str]:
        """Read every secret and return what is wrong, a line each; an empty list if nothing is.

        A secret that was removed with all of its rows, or put back with all of them, is not found, unless
        this process has seen its state before.

        Args:
            versions: Read all versions that are kept, one by one, and not just the current ones.

        Raises:
            DecryptionError: The key is wrong.
        """
        whole = Deadline(self._whole)

        def read(store: Store) -> list[str]:
            problems: list[str] = []
            known = self._seen.all()
            for page in self._backend.scan(b"", lambda: self._part(whole)):
                names = [name for name, _ in page]
                for at in range(0, len(names), _LOOKED_AT):
                    some = names[at : at + _LOOKED_AT]
                    for name, found in self._backend.read(some, self._part(whole)).items():
                        floor = known.pop(name, None)
                        try:
                            self._verify_one(store, name, found, floor, whole, versions=versions)
                        except TamperedError as error:
                            problems.append(error.message)
            problems += [self._removed(seen.record.key).message for seen in known.values()]
            return problems

        return self._with_store(read, None, list, self._part(whole), whole=whole)

    def _verify_one(
        self, store: Store, name: bytes, stored: Found, floor: Seen | None, whole: Deadline, *, versions: bool
    ) -> None:
        sealed = SealedName(name, store.sealer.cipher(name))
        record = self._fitting(store, None, sealed, stored, floor)
        if store.sealer.name(record.key).name != name:
            raise self._tampered(record.key, f"secret {show_key(record.key)} has another one's name")
        if record.current:
            self._current(store, record.key, sealed, record, stored, deadline=self._part(whole))
        for version in record.kept() if versions else ():
            body = self._backend.row(name, version.number, self._part(whole))
            if body is None:
                raise self._tampered(record.key, f"a version of {show_key(record.key)} is gone")
            self._row(store, record.key, sealed, version.number, body)

    def has_store(self) -> bool:
        """Return whether there is a store; the first write makes it.

        Raises:
            DecryptionError: The key is wrong.
        """
        return self._with_store(lambda _: True, None, lambda: False, self._deadline())

    def key_id(self) -> str:
        """Return the id of the key that wraps the store's own.

        Raises:
            ConfigurationError: There is no store.
        """
        return header_id(self._with_store(lambda store: store.header, None, self._no_store, self._deadline()))

    def rekey(
        self,
        new_key: str | bytes | None = None,
        *,
        new_key_file: str | os.PathLike[str] | None = None,
        keep_key_file: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> Path | None:
        """Wrap the store's own key under a new key of the user; no secret is written.

        Running hosts go on. Those that start afterwards need the new key: give it to all of them, with the
        present one in `older_keys`, before this is called.

        Args:
            new_key: The new key. Without one, and with a key file, a new one is made.
            new_key_file: A file to take the new key from; it is made where it is missing.
            keep_key_file: Do not change the key file: the caller puts the new key, which is given, into it.
            progress: Called once with 1 and 1.

        Returns:
            The file of the old key; None if it was not in a key file.

        Raises:
            ConfigurationError: There is no store, or two new keys, or no key and no file to keep one in.
            ConflictError: Another host has just made a rekey.
        """
        if new_key is not None and new_key_file is not None:
            raise ConfigurationError(
                "both new_key and new_key_file are given", provider=self.type_name, hint="give one of them"
            )
        next_key = read_key(new_key) if new_key is not None else None
        if new_key_file is not None:
            next_key = self._source.read_or_make(Path(new_key_file))
        if next_key is not None and next_key.kind == "fernet":
            next_key = KeyMaterial("raw", next_key.secret)  # here the same, and with one text form
        self._opened = None  # another host may have changed the header

        def change(store: Store) -> Path | None:
            material = next_key if keep_key_file and next_key is not None else self._source.next(next_key)
            opened = open_header(store.header, [store.material])
            if opened is None:  # pragma: no cover  # it was opened by that very key
                raise self._wrong_key(store.header)
            header = wrap(opened[0], material)
            replaced = self._backend.replace_header(store.header, header, self._deadline())
            # Or by the same request before, whose answer was lost.
            if not replaced and self._backend.header(self._deadline()) != header:
                raise ConflictError(
                    "another host has just put the store under a new key", provider=self.type_name
                )
            old_file = None if keep_key_file else self._source.finish(material, header_id(store.header))
            self._opened = Store(store.sealer, header, material)
            if progress is not None:
                progress(1, 1)
            return old_file

        return self._with_store(change, None, self._no_store, self._deadline())

    def close(self) -> None:
        """Give back connections; any call opens them again."""
        if "_backend" in vars(self):
            self._backend.close()
