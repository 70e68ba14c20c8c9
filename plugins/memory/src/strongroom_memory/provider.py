"""The provider for secrets in memory."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime

from strongroom.errors import ConfigurationError, ConflictError, SecretNotFoundError, show_key
from strongroom.keys import check_key, check_keys, check_prefix, check_value, is_reserved
from strongroom.parallel import Take, renew_after_fork
from strongroom.providers import (
    BaseProvider,
    ChangeKind,
    Closeable,
    SecretChange,
    SecretMetadata,
    SecretVersion,
    Subscribers,
)

from strongroom_memory.record import Record, Version

__all__ = ["MemorySecretProvider"]


def _now() -> datetime:
    return datetime.now(UTC)


class MemorySecretProvider(BaseProvider):
    """Secrets in the memory of this process, with every capability there is; thread-safe.

    Args:
        secrets: Secrets that are there from the start, value by key.
        max_versions: Versions kept of each secret, at least 1; current and pending ones are never dropped.
        clock: Gives the aware time now.

    Raises:
        ConfigurationError: `max_versions` is less than 1.
        InvalidKeyError, TypeError, ValidationError: `secrets` holds a key or value that breaks the rules.
    """

    type_name = "memory"

    def __init__(
        self,
        *,
        secrets: Mapping[str, str] | None = None,
        max_versions: int = 100,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        if max_versions < 1:
            raise ConfigurationError(
                f"max_versions must be at least 1, got {max_versions}", provider=self.type_name
            )
        self._max_versions = max_versions
        self._clock = clock
        self._begin_again()
        renew_after_fork(self, MemorySecretProvider._begin_again, rest=MemorySecretProvider._rest)
        self._subscribers = Subscribers()
        # One count for all keys: an id is never used twice, also after a delete, and nothing has to
        # remember deleted keys for it.
        self._ids = itertools.count(1)
        self._records: dict[str, Record] = {}
        # What readers get, apart from the records, so that a read is one look-up without a lock.
        self._values: dict[str, str] = {}
        if secrets:
            self.set_secrets(secrets)

    def _begin_again(self) -> None:
        self._lock = threading.RLock()

    def _rest(self, take: Take) -> None:
        take(self._lock)  # a child must not have half a write

    def get_secret(self, key: str) -> str:
        # What is there has a valid key; the check is for what is not.
        value = self._values.get(key)
        if value is None:
            raise self._not_found(check_key(key))
        return value

    def set_secret(self, key: str, value: str) -> None:
        check_value(value, check_key(key))
        with self._lock:
            self._write(key, value)
            if self._subscribers.present:
                self._changed(key)
        if self._subscribers.present:
            self._subscribers.tell()

    def delete_secret(self, key: str) -> None:
        check_key(key)
        with self._lock:
            self._current(key)
            del self._values[key]
            del self._records[key]
            self._changed(key, kind="deleted")
        self._subscribers.tell()

    def list_secrets(self, prefix: str = "") -> list[str]:
        check_prefix(prefix)
        with self._lock:
            keys = list(self._values)
        return sorted(key for key in keys if key.startswith(prefix) and not is_reserved(key))

    def get_secrets(self, keys: Iterable[str]) -> dict[str, str]:
        asked = check_keys(keys)
        with self._lock:
            return {key: self._values[key] for key in asked if key in self._values}

    def set_secrets(self, values: Mapping[str, str]) -> None:
        checked = {check_key(key): check_value(value, key) for key, value in values.items()}
        with self._lock:
            for key, value in checked.items():
                self._write(key, value)
            self._changed(*checked)
        self._subscribers.tell()

    def describe_secret(self, key: str) -> SecretMetadata:
        check_key(key)
        with self._lock:
            current = self._current(key)
            record = self._records[key]
            return SecretMetadata(key, current.id, record.created_at, record.updated_at)

    def describe_secrets(self, keys: Iterable[str]) -> dict[str, SecretMetadata]:
        asked = check_keys(keys)
        with self._lock:
            return {key: self.describe_secret(key) for key in asked if key in self._values}

    def list_versions(self, key: str) -> list[SecretVersion]:
        check_key(key)
        with self._lock:
            record = self._records.get(key)
            if record is None:
                raise self._not_found(key)
            return [version.public() for version in reversed(record.versions.values())]

    def get_secret_version(self, key: str, version: str) -> str:
        check_key(key)
        with self._lock:
            return self._version(key, version).value

    def set_secret_if(self, key: str, value: str, expected_version: str | None) -> str:
        check_value(value, check_key(key))
        with self._lock:
            self._expect(key, expected_version)
            version = self._write(key, value)
            self._changed(key)
        self._subscribers.tell()
        return version

    def stage_secret(self, key: str, value: str) -> str:
        check_value(value, check_key(key))
        with self._lock:
            version = self._new_version(value)
            self._records.setdefault(key, Record()).versions[version.id] = version
            return version.id

    def promote_version(self, key: str, version: str, *, expected_version: str | None) -> None:
        check_key(key)
        with self._lock:
            found = self._pending(key, version)
            self._expect(key, expected_version)
            self._make_current(key, found)
            self._changed(key)
        self._subscribers.tell()

    def discard_version(self, key: str, version: str) -> None:
        check_key(key)
        with self._lock:
            found = self._pending(key, version)
            record = self._records[key]
            del record.versions[found.id]
            if not record.versions:
                del self._records[key]

    def subscribe_changes(self, callback: Callable[[list[SecretChange]], object]) -> Closeable:
        return self._subscribers.add(callback)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} with {len(self._values)} secrets>"

    def _write(self, key: str, value: str) -> str:
        version = self._new_version(value)
        self._make_current(key, version)
        return version.id

    def _changed(self, *keys: str, kind: ChangeKind = "set") -> None:
        """Note the changes of one transaction, in order; they are reported later, without the lock."""
        if not self._subscribers.present:
            return
        now = self._clock().astimezone(UTC)
        self._subscribers.queue(
            [
                SecretChange(key, kind, self._current(key).id if kind == "set" else None, now)
                for key in keys
                if not is_reserved(key)
            ]
        )

    def _new_version(self, value: str) -> Version:
        return Version(str(next(self._ids)), value, self._clock().astimezone(UTC), "pending")

    def _make_current(self, key: str, version: Version) -> None:
        record = self._records.setdefault(key, Record())
        record.make_current(version, self._clock().astimezone(UTC))
        record.trim(self._max_versions)
        self._values[key] = (record.current or version).value  # a signal handler may have written meanwhile

    def _current(self, key: str) -> Version:
        record = self._records.get(key)
        if record is None or record.current is None:
            raise self._not_found(key)
        return record.current

    def _version(self, key: str, version: str) -> Version:
        record = self._records.get(key)
        stored = record.versions.get(version) if record is not None else None
        if stored is None:
            raise SecretNotFoundError(
                key, f"secret {show_key(key)} has no such version", provider=self.type_name
            )
        return stored

    def _pending(self, key: str, version: str) -> Version:
        stored = self._version(key, version)
        if stored.state != "pending":
            raise ConflictError(
                f"version {version} of {show_key(key)} is {stored.state}, not pending",
                key=key,
                provider=self.type_name,
            )
        return stored

    def _expect(self, key: str, expected_version: str | None) -> None:
        record = self._records.get(key)
        current = record.current.id if record is not None and record.current is not None else None
        if current != expected_version:
            there = f"is at version {current}" if current is not None else "is not there"
            raise ConflictError(
                f"secret {show_key(key)} {there}",
                key=key,
                provider=self.type_name,
                hint="read it again, then decide",
            )

    def _not_found(self, key: str) -> SecretNotFoundError:
        return SecretNotFoundError(key, provider=self.type_name)
