"""The provider for secrets in memory."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime

from strongroom.errors import ConfigurationError, ConflictError, SecretNotFoundError, show_key
from strongroom.keys import check_key, check_keys, check_prefix, check_value, is_reserved
from strongroom.parallel import Take, renew_after_fork
from strongroom.providers import (
    BaseProvider,
    Closeable,
    SecretChange,
    SecretMetadata,
    SecretVersion,
    Subscribers,
    expect_version,
)

from strongroom_memory.record import Record, Version

__all__ = ["MemorySecretProvider"]


def _now() -> datetime:
    return datetime.now(UTC)


def _finish(change: Callable[[], None]) -> None:
    """Make a change, and make it once more if a signal handler raises in the middle: never half of it."""
    try:
        change()
    except BaseException:
        change()
        raise


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
        try:  # `_transaction`, written out
            with self._lock:
                self._make_current({key: self._new_version(value)})
        finally:
            self._subscribers.tell()

    def delete_secret(self, key: str) -> None:
        check_key(key)
        with self._transaction():
            self._current(key)
            deleted = SecretChange(key, "deleted", None, self._now())

            def delete() -> None:
                self._values.pop(key, None)
                self._records.pop(key, None)
                self._report([deleted])

            _finish(delete)

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
        with self._transaction():
            self._make_current({key: self._new_version(value) for key, value in checked.items()})

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
        with self._transaction():
            self._expect(key, expected_version)
            version = self._new_version(value)
            self._make_current({key: version})
        return version.id

    def stage_secret(self, key: str, value: str) -> str:
        check_value(value, check_key(key))
        with self._lock:
            version = self._new_version(value)
            self._records.setdefault(key, Record()).versions[version.id] = version
            return version.id

    def promote_version(self, key: str, version: str, *, expected_version: str | None) -> None:
        check_key(key)
        with self._transaction():
            found = self._pending(key, version)
            self._expect(key, expected_version)
            self._make_current({key: found})

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

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Hold the lock for a change, and report it afterwards, even if a signal handler raised."""
        try:
            with self._lock:
                yield
        finally:
            self._subscribers.tell()

    def _now(self) -> datetime:
        return self._clock().astimezone(UTC)

    def _report(self, changes: list[SecretChange]) -> None:
        """Note the changes of one transaction, in order; they are reported later, without the lock."""
        own = [change for change in changes if not is_reserved(change.key)]
        if own:
            self._subscribers.queue(own)

    def _new_version(self, value: str) -> Version:
        return Version(str(next(self._ids)), value, self._now(), "pending")

    def _make_current(self, versions: Mapping[str, Version]) -> None:
        """Make the versions the current ones of their keys, all of them."""
        now = self._now()

        def make_current() -> None:
            for key, version in versions.items():
                record = self._records.setdefault(key, Record())
                record.make_current(version, now)
                record.trim(self._max_versions)
                # A signal handler may have written meanwhile.
                self._values[key] = (record.current or version).value
            if self._subscribers.present:
                self._report([SecretChange(key, "set", one.id, now) for key, one in versions.items()])

        _finish(make_current)

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
        expect_version(self.type_name, key, current, expected_version)

    def _not_found(self, key: str) -> SecretNotFoundError:
        return SecretNotFoundError(key, provider=self.type_name)
