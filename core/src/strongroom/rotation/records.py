"""The durable state of one rotation, and how exactly one process gets to write it."""

from __future__ import annotations

import hashlib
import json
import warnings
from contextlib import nullcontext, suppress
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from strongroom.errors import (
    ConflictError,
    RotationError,
    SecretNotFoundError,
    UnsupportedOperationError,
    show_key,
)
from strongroom.keys import ROTATION_SEGMENT
from strongroom.providers import ConditionalWriter, Describer
from strongroom.tenancy import current_tenant

if TYPE_CHECKING:
    from strongroom.cache.store import CacheStore
    from strongroom.rotation.results import RotationState

__all__ = ["Ledger", "Record", "record_key"]

_IN_FLIGHT: Final = frozenset({"pending", "applied", "verified"})
_FORMAT: Final = 1
_LONGEST: Final = 400
"""Characters of a record's key at most: a tenant's prefix has room before it."""
_LOCK_SECONDS: Final = 30.0
_WAIT_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Record:
    """What the next process needs to go on, or to undo.

    Attributes:
        key: The secret.
        state: How far it is.
        old_version: The version that readers had at the start, where there are versions.
        new_version: The staged version, where the backend stages.
        new: The new value, until it is staged; where nothing is staged until it is written.
        old: The old value, where the backend keeps no versions.
        begun: Whether `apply` was entered, so that the target system may have the new value.
        error: What the last attempt failed with; never a value.
        failures: Attempts in a row that failed.
        retry_at: When a due run may try again, an ISO 8601 time.
        rotated_at: When it became current, likewise.
        until: Until when it can be rolled back, likewise.
        abandoned: Whether its rollback has begun.
        undoes: Whether it puts back what a rotation replaced.
    """

    key: str
    state: RotationState = "pending"
    old_version: str | None = None
    new_version: str | None = None
    new: str | None = None
    old: str | None = None
    begun: bool = False
    error: str | None = None
    failures: int = 0
    retry_at: str | None = None
    rotated_at: str | None = None
    until: str | None = None
    abandoned: bool = False
    undoes: bool = False

    @property
    def in_flight(self) -> bool:
        """Whether it has begun and not ended."""
        return self.state in _IN_FLIGHT

    def __repr__(self) -> str:
        return f"<Record of {show_key(self.key)}: {self.state}>"


def record_key(key: str) -> str:
    """Return the reserved name beside `key` that its record has."""
    parent, _, leaf = key.rpartition("/")
    beside = f"{parent}/{ROTATION_SEGMENT}/{leaf}" if parent else f"{ROTATION_SEGMENT}/{leaf}"
    if len(beside) <= _LONGEST:
        return beside
    digest = hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()
    kept: list[str] = []
    for segment in parent.split("/") if parent else ():
        if len("/".join([*kept, segment, ROTATION_SEGMENT, digest])) > _LONGEST:
            break
        kept.append(segment)
    return "/".join([*kept, ROTATION_SEGMENT, digest])


class Ledger:
    """The record of one key.

    Args:
        room: The provider that keeps it.
        key: The secret.
        lock: What keeps two processes apart where the provider has no conditional writes.
    """

    def __init__(self, room: Any, key: str, lock: CacheStore | None) -> None:
        self._room = room
        self._key = key
        self._name = record_key(key)
        self._lock = lock
        self._version: str | None = None

    def read(self) -> Record | None:
        """Return the record, or None where there is none.

        Raises:
            RotationError: It cannot be understood.
        """
        # The version first: a record that is newer than it cannot be overwritten by mistake.
        self._version = self._current_version()
        try:
            text = self._room.get_secret(self._name)
        except SecretNotFoundError:
            self._version = None
            return None
        record = _parsed(text)
        if record is None or record.key != self._key:
            raise RotationError(
                f"the state of the rotation of {show_key(self._key)} cannot be understood",
                key=self._key,
                hint=f"look at {self._name!r} in the backend; delete it where no rotation is in flight",
            )
        return record

    def claim(self, record: Record) -> Record:
        """Begin a rotation: exactly one of all who do so at the same time gets back.

        Raises:
            ConflictError: Another one has begun.
        """
        text = _text(record)
        if isinstance(self._room, ConditionalWriter):
            try:
                self._version = self._room.set_secret_if(self._name, text, self._version)
            except UnsupportedOperationError:
                pass  # the method is there, and the server cannot: KV version 1
            except ConflictError:
                raise self.in_flight() from None
            else:
                return record
        with self._alone():
            found = self.read()
            if found is not None and found.in_flight:
                raise self.in_flight()
            self._room.set_secret(self._name, text)
        return record

    def save(self, record: Record, **changes: Any) -> Record:
        """Write the next state.

        Raises:
            ConflictError: Another process has gone on with, or undone, this rotation.
        """
        changed = replace(record, **changes)
        text = _text(changed)
        if self._version is not None and isinstance(self._room, ConditionalWriter):
            try:
                self._version = self._room.set_secret_if(self._name, text, self._version)
            except UnsupportedOperationError:
                self._version = None
            except ConflictError:
                raise self.in_flight() from None
            else:
                return changed
        if self._version is None and self.read() is None:
            raise self.in_flight()  # another process has ended it: it must not rise again
        self._room.set_secret(self._name, text)
        return changed

    def remove(self) -> None:
        """Forget the rotation."""
        with suppress(SecretNotFoundError):
            self._room.delete_secret(self._name)
        self._version = None

    def in_flight(self) -> ConflictError:
        """Return the error for whoever comes second."""
        return ConflictError(
            f"a rotation of {show_key(self._key)} is in flight",
            key=self._key,
            hint="wait for it; or `resume` it, or `rollback`, where its process is gone",
        )

    def _current_version(self) -> str | None:
        if not (isinstance(self._room, Describer) and isinstance(self._room, ConditionalWriter)):
            return None
        try:
            told: str = self._room.describe_secret(self._name).version
        except (SecretNotFoundError, UnsupportedOperationError):
            return None
        return told

    def _alone(self) -> Any:
        if self._lock is None:
            warnings.warn(
                "this backend has no conditional writes and the rotation no lock: "
                "only one process may rotate at a time",
                stacklevel=6,
            )
            return nullcontext()
        tenant = current_tenant()
        name = hashlib.sha256(f"{tenant!r} {self._key!r}".encode()).hexdigest()
        return self._lock.lock(f"rotation:{name}", ttl_seconds=_LOCK_SECONDS, wait_seconds=_WAIT_SECONDS)


def _text(record: Record) -> str:
    return json.dumps({"format": _FORMAT, **asdict(record)})


def _parsed(text: str) -> Record | None:
    try:
        told = json.loads(text)
        if told.pop("format") != _FORMAT:
            return None
        return Record(**told)
    except (ValueError, TypeError, AttributeError, KeyError):
        return None
