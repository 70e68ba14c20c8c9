"""The durable state of one rotation, which exactly one process gets to write."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import secrets
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from strongroom.cache.addresses import sources_of
from strongroom.errors import (
    BackendUnavailableError,
    ConflictError,
    RotationError,
    SecretNotFoundError,
    SecretTooLargeError,
    StrongroomError,
    UnsupportedOperationError,
    show_key,
)
from strongroom.keys import is_unicode, record_key
from strongroom.providers import ConditionalWriter, Describer

if TYPE_CHECKING:
    from strongroom.cache.store import CacheStore
    from strongroom.rotation.results import RotationState

__all__ = ["Ledger", "Record", "mark_of"]

_IN_FLIGHT: Final = frozenset({"pending", "applied", "verified"})
_STATES: Final = (*_IN_FLIGHT, "current", "rolled_back")
_NUMBERS: Final = frozenset({"failures", "late"})
_FLAGS: Final = frozenset({"begun", "abandoned", "undoes"})
_TEXTS: Final = frozenset({"key", "id"})
"""Members of a record that are never None."""
_FORMAT: Final = 1
_ROOM: Final = 256
"""Bytes by which the record of a rotation may grow, without the text of an error."""
_NO_ROOM: Final = "the backend has no room for what failed"
_LOCK_SECONDS: Final = 30.0
_WAIT_SECONDS: Final = 10.0
_log = logging.getLogger("strongroom.rotation")


@dataclass(frozen=True, slots=True)
class Record:
    """What another process needs to finish a rotation, or to undo it.

    Attributes:
        key: The secret, by the name that the caller of this rotation has for it.
        state: How far it is.
        old_version: The version that readers had at the start, if there are versions.
        new_version: The staged version, if the backend can stage.
        new: The new value, until it is staged, or written if the backend cannot stage.
        old: The old value, if the backend keeps no versions.
        begun: Whether `apply` may have been entered, so that the target system may have the new value.
        error: The error of the last attempt; never a value.
        failures: Attempts in a row that failed.
        retry_at: When a due run may try again, an ISO 8601 time.
        rotated_at: When the new value became current, likewise.
        until: Until when the rotation can be rolled back, likewise.
        abandoned: Whether its rollback has begun.
        undoes: Whether it puts back the value that another rotation replaced.
        attempt: The id of the attempt that works on it; None once that attempt has said that it is over.
        host: The machine and process of that attempt, for people.
        held_until: When that attempt counts as dead at the latest, an ISO 8601 time.
        step: The step that it holds; None if it may be overtaken.
        late: How often the `apply` of an overtaken attempt came in late, so that it has to be done again.
        mark: A salted digest of the new value, if that is needed to see whether it is still current.
        id: A random id of this rotation.
        stale: Values that the target system still takes, each with the time after which it must not.
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
    attempt: str | None = None
    host: str | None = None
    held_until: str | None = None
    step: str | None = None
    late: int = 0
    mark: str | None = None
    id: str = ""
    stale: tuple[tuple[str, str], ...] = ()

    @property
    def in_flight(self) -> bool:
        """Whether it has begun and not ended."""
        return self.state in _IN_FLIGHT

    def made(self, value: str) -> bool:
        """Return whether `value` is the new one, as far as the record itself shows that."""
        if self.new is not None:
            return value == self.new
        if self.mark is None:
            return False
        salt = self.mark.partition("$")[0]
        return hmac.compare_digest(mark_of(value, salt), self.mark)

    def __repr__(self) -> str:
        return f"<Record of {show_key(self.key)}: {self.state}>"


def mark_of(value: str, salt: str | None = None) -> str:
    """Return a digest of `value` under `salt`, or under a new one."""
    chosen = secrets.token_hex(16) if salt is None else salt
    digest = hashlib.sha256(chosen.encode() + value.encode(errors="surrogatepass")).hexdigest()
    return f"{chosen}${digest}"


class Ledger:
    """The record of one key. A write succeeds only if nobody else has written since it was read.

    Args:
        store: The provider that keeps it.
        key: The secret.
        lock: What keeps two processes apart if the provider has no conditional writes.
    """

    def __init__(self, store: Any, key: str, lock: CacheStore | None) -> None:
        self._store = store
        self._key = key
        self.name = record_key(key)
        self._lock = lock
        self._conditional = isinstance(store, ConditionalWriter) and isinstance(store, Describer)
        self._version: str | None = None
        self._text: str | None = None

    def read(self) -> Record | None:
        """Return the record, or None if there is none.

        Raises:
            RotationError: It cannot be understood.
        """
        text = self._read_text()
        if text is None:
            return None
        record = _parsed(text)
        if record is None or _last_segment(record.key) != _last_segment(self._key):
            raise RotationError(
                f"the state of the rotation of {show_key(self._key)} cannot be understood",
                key=self._key,
                hint=f"look at {self.name!r} in the backend; if no rotation is in flight, "
                "`strongroom rotate --forget` drops it",
            )
        return record if record.key == self._key else replace(record, key=self._key)

    def write(self, record: Record, *, begins: bool = False, room: bool = False) -> None:
        """Replace what was read or written last by `record`.

        Args:
            record: What is written.
            begins: Whether to warn if nothing keeps two processes apart.
            room: Whether to make sure that the backend also takes what the record becomes later. Otherwise,
                a rotation could begin that can be neither finished nor undone.

        Raises:
            ConflictError: Somebody else has written, or removed it, since.
            SecretTooLargeError: The backend cannot hold the values in it.
        """
        texts = _texts_of(record, _ROOM if room else 0)
        text = next(texts)
        while True:
            try:
                self._write(text, begins=begins)
            except SecretTooLargeError:
                shorter = next(texts, None)
                if shorter is None:
                    raise
            else:
                return
            text = shorter

    def _write(self, text: str, *, begins: bool) -> None:
        if self._conditional and self._wrote_if(text):
            return
        if not self._conditional:
            with self._exclusive(warn=begins):
                seen = self._text
                if self._read_text() == seen:
                    self._store.set_secret(self.name, text)
                    self._text = text
                    return
        raise self.in_flight()

    def remove(self) -> None:
        """Drop the record, whatever it says."""
        with suppress(SecretNotFoundError):
            self._store.delete_secret(self.name)
        self._version = self._text = None

    def in_flight(self) -> ConflictError:
        """Return the error for the attempt that comes second."""
        return ConflictError(
            f"a rotation of {show_key(self._key)} is in flight",
            key=self._key,
            hint="wait; if its process has died, `resume` or `rollback` it",
        )

    def _wrote_if(self, text: str) -> bool:
        try:
            self._version = self._store.set_secret_if(self.name, text, self._version)
        except UnsupportedOperationError:  # the provider has the method, but the server cannot: KV version 1
            self._conditional = False
            return False
        except ConflictError:
            pass
        else:
            self._text = text
            return True
        # If the answer to a write was lost, the SDK has repeated it and was refused; then the text is there.
        return self._read_text() == text

    def _read_text(self) -> str | None:
        # The version is read first, so that a record which is newer than it cannot be overwritten.
        self._version = self._text = None
        try:
            version = self._store.describe_secret(self.name).version if self._conditional else None
        except UnsupportedOperationError:
            version = None
        except SecretNotFoundError:
            return None
        try:
            self._text = self._store.get_secret(self.name)
        except SecretNotFoundError:
            return None
        self._version = version
        return self._text

    def _exclusive(self, *, warn: bool) -> Any:
        if self._lock is None:
            if warn:
                warnings.warn(
                    "this backend has no conditional writes and the rotation no lock: "
                    "only one process may rotate at a time",
                    stacklevel=6,
                )
            return nullcontext()
        return self._locked(self._lock)

    @contextmanager
    def _locked(self, store: CacheStore) -> Iterator[None]:
        # As the backend knows it: callers may have several names for it, and any tenant may be active.
        stored = next((source.key for source in sources_of(self._store, self._key)), self._key)
        name = f"rotation:{hashlib.sha256(stored.encode()).hexdigest()}"
        held = ExitStack()
        try:
            held.enter_context(store.lock(name, ttl_seconds=_LOCK_SECONDS, wait_seconds=_WAIT_SECONDS))
        except StrongroomError:
            raise
        except Exception as error:  # a third party's store may raise anything at all
            raise BackendUnavailableError(
                f"the lock for the rotation of {show_key(self._key)} failed with {type(error).__name__}",
                key=self._key,
                hint="see whether the store that is given as `lock` works",
            ) from error
        try:
            yield
        finally:
            self._release(held)

    def _release(self, held: ExitStack) -> None:
        """Give the lock back; if that fails, it ends by itself, and each write looks at the record first."""
        try:
            held.close()
        except Exception as error:  # noqa: BLE001  # as above
            key, kind = show_key(self._key), type(error).__name__
            _log.warning("the lock for the rotation of %s could not be released: %s", key, kind)


def _texts_of(record: Record, room: int) -> Iterator[str]:
    """Yield forms of a record, each shorter than the one before, and all with `room` bytes more."""

    def written(record: Record, *, ascii_only: bool) -> str:
        members = {"format": _FORMAT, **{name: getattr(record, name) for name in Record.__slots__}}
        return "{" + " " * room + json.dumps(members, ensure_ascii=ascii_only)[1:]

    # First in ASCII: the text of an error may have characters that the backend cannot hold.
    last = written(record, ascii_only=True)
    yield last
    for shorter in (record, replace(record, error=_NO_ROOM) if record.error is not None else record):
        text = written(shorter, ascii_only=False)
        if is_unicode(text) and len(text.encode()) < len(last.encode()):
            last = text
            yield last


def _last_segment(key: str) -> str:
    """Return the part of a key that is the same for all who reach one secret, with a prefix or without."""
    return key.rpartition("/")[2]


def _is_of_kind(name: str, value: object) -> bool:
    """Return whether a member of a record is what it has to be."""
    if name == "state":
        return value in _STATES
    if name == "stale":
        return True  # of texts, since it was read
    if name in _NUMBERS:
        return type(value) is int
    if name in _FLAGS:
        return isinstance(value, bool)
    return isinstance(value, str) or (value is None and name not in _TEXTS)


def _parsed(text: str) -> Record | None:
    try:
        members = json.loads(text)
        if members.pop("format") != _FORMAT:
            return None
        members["stale"] = tuple((str(value), str(until)) for value, until in members.get("stale", ()))
        record = Record(**members)
        times = [record.retry_at, record.rotated_at, record.until, record.held_until]
        times += [until for _, until in record.stale]
        known = all(_is_of_kind(name, getattr(record, name)) for name in Record.__slots__)
        known &= all(datetime.fromisoformat(one).tzinfo is not None for one in times if one is not None)
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
        return None
    return record if known else None
