"""The steps of one secret's rotation: each is safe to be done again by another process.

claim   the record is there, and nobody else's can be            pending
stage   the new value is a version that readers do not get
apply   the target system takes the new value                    applied
verify  the new value works there                                verified
promote readers get the new value, and caches drop the old one   current
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar

from strongroom.errors import (
    BackendUnavailableError,
    ConflictError,
    RotationError,
    SecretNotFoundError,
    StrongroomError,
    UnsupportedOperationError,
    show_key,
)
from strongroom.pipeline import Pipeline, as_operation
from strongroom.providers import ConditionalWriter, Describer, StagedWriter, VersionReader
from strongroom.rotation.records import Ledger, Record
from strongroom.rotation.results import RotationResult, RotationState
from strongroom.rotation.room import check_rules, room_of
from strongroom.rotation.telling import without

if TYPE_CHECKING:
    from strongroom.cache.store import CacheStore

__all__ = ["Apply", "Steps", "Tools", "Verify"]

T = TypeVar("T")
Apply = Callable[[str, str, str], object]
"""Called with the key, the old and the new value, to change the target system; again after a crash."""
Verify = Callable[[str, str], object]
"""Called with the key and the new value; raises, or returns False, where that does not work."""

_log = logging.getLogger("strongroom.rotation")
_FIRST_RETRY: Final = timedelta(minutes=1)
_LAST_RETRY: Final = timedelta(days=1)
_DOUBLINGS: Final = 11


@dataclass(frozen=True, slots=True)
class Tools:
    """What is the same for all keys of a `SecretRotation`."""

    apply: Apply | None
    verify: Verify | None
    grace: timedelta
    lock: CacheStore | None
    clock: Callable[[], datetime]


class Steps:
    """One secret's way from the old value to the new one, or back.

    Args:
        target: What answers the key.
        key: The secret.
        tools: What is used on the way.
    """

    def __init__(self, target: Any, key: str, tools: Tools) -> None:
        self._target = target
        # The hooks of the outermost pipeline see one rotation, and not its many small operations.
        self._way = target.inner if isinstance(target, Pipeline) else target
        self._room = room_of(target)
        self._key = key
        self._tools = tools
        self._ledger = Ledger(self._room, key, tools.lock)
        self._recorded = False

    # --- what is there ---

    def found(self) -> Record | None:
        """Return the rotation that is in flight, or the last one while it can be rolled back."""
        record = self._ask(self._ledger.read)
        self._recorded = record is not None and record.in_flight
        if self._recorded:
            return record
        staged = self._pending()
        if not staged:
            return record
        # Another tool's, or one whose record somebody dropped.
        return Record(self._key, old_version=self._version_if_any(), new_version=staged[0])

    def forget(self) -> None:
        """Drop the record of a rotation that can no longer be rolled back."""
        self._ask(self._ledger.remove)

    # --- forward ---

    def begin(self, make: Callable[[str], str], *, undoes: bool = False) -> Record:
        """Claim the rotation, `make` giving the new value for the old one.

        Raises:
            ConflictError: One is in flight, or the secret was changed at the same time.
            SecretNotFoundError: There is no such secret.
        """
        found = self.found()
        if found is not None and found.in_flight:
            raise self._ledger.in_flight()
        version, old = self._now()
        new = self._known(make(old))
        check_rules(self._target, self._key, new)
        versioned = isinstance(self._room, VersionReader) and version is not None
        record = self._ask(
            self._ledger.claim,
            Record(self._key, old_version=version, new=new, old=None if versioned else old, undoes=undoes),
        )
        if (self._version() != version) if version is not None else (self._now()[1] != old):
            self._ask(self._ledger.remove)
            raise ConflictError(
                f"{show_key(self._key)} was changed as its rotation began",
                key=self._key,
                hint="look whether it still needs one",
            )
        return record

    def adopt(self, record: Record) -> Record:
        """Take over what `found` returned, so that nobody else does at the same time."""
        return record if self._recorded else self._ask(self._ledger.claim, record)

    def finish(self, record: Record) -> RotationResult:
        """Do what is left to do, of a rollback that was begun too.

        Raises:
            RotationError: `apply` or `verify` failed; all stays as it is for `resume` and `undo`.
            ConflictError: Another process does the same, or the secret was changed meanwhile.
        """
        if record.abandoned:
            return self.undo(record)
        if record.state == "pending":
            record = self._staged(record)
            if self._tools.apply is not None:
                record = record if record.begun else self._save(record, begun=True)
                self._try(record, "apply", self._tools.apply, self._old(record), self._new(record))
            record = self._passed(record, "applied")
        if record.state == "applied":
            if self._tools.verify is not None:
                self._try(record, "verify", self._tools.verify, self._new(record))
            record = self._passed(record, "verified")
        return self._ended(self._live(record) or self._promoted(record), self._tools.grace)

    # --- back ---

    def undo(self, record: Record) -> RotationResult:
        """Let the old value be the one that is used again.

        Raises:
            RotationError: `apply` could not put the old value back; the rotation stays in flight.
        """
        live = self._live(record)
        if live is not None:
            self._ended(live, timedelta.max)
            return self.put_back(live)
        # From here on the target may have the old value: a resumption must not go forward.
        record = record if record.abandoned else self._save(record, abandoned=True)
        if record.begun and self._tools.apply is not None:
            self._take_back(record)
        for version in self._pending():
            with suppress(SecretNotFoundError, ConflictError):
                self._ask(self._way.discard_version, self._key, version)
        self._ask(self._ledger.remove)
        return RotationResult(self._key, "rolled_back", record.old_version, record.new_version)

    def put_back(self, last: Record) -> RotationResult:
        """Make the value that `last` replaced a new version: a rotation to it, which can be resumed like any.

        Raises:
            RotationError: The secret was changed since, or the value before is no longer there.
        """
        if self._live(last) is None:
            raise RotationError(
                f"{show_key(self._key)} was changed after its rotation: nothing is put back", key=self._key
            )
        before = self._old(last)
        return self.finish(self.begin(lambda _: before, undoes=True))

    # --- the steps ---

    def _staged(self, record: Record) -> Record:
        if record.new_version is not None or record.new is None or not isinstance(self._way, StagedWriter):
            return record
        staged = self._pending()
        if staged and self._ask(self._room.get_secret_version, self._key, staged[0]) != record.new:
            raise ConflictError(
                f"{show_key(self._key)} has a pending version that is not of this rotation",
                key=self._key,
                hint="roll the rotation back",
            )
        try:
            version = staged[0] if staged else self._ask(self._way.stage_secret, self._key, record.new)
        except UnsupportedOperationError:
            return record
        except BackendUnavailableError:
            raise
        except StrongroomError:
            # The backend does not want this value: nothing has happened, so nothing is in flight.
            self._ask(self._ledger.remove)
            raise
        return self._save(record, new_version=version, new=None)

    def _passed(self, record: Record, state: RotationState) -> Record:
        if self._tools.apply is None and self._tools.verify is None:
            return replace(record, state=state)  # nothing has happened that must not happen twice
        return self._save(record, state=state, error=None, failures=0, retry_at=None)

    def _promoted(self, record: Record) -> Record:
        try:
            version = self._write(record)
        except ConflictError:
            told = "the secret was changed while it was being rotated"
            self._note(record, told)
            raise ConflictError(
                f"{show_key(self._key)}: {told}", key=self._key, hint="roll the rotation back"
            ) from None
        return replace(record, new_version=version)

    def _write(self, record: Record) -> str | None:
        if record.new is None:  # it is staged
            assert record.new_version is not None  # noqa: S101  # `_staged` wrote one of both
            self._ask(
                self._way.promote_version,
                self._key,
                record.new_version,
                expected_version=record.old_version,
            )
            return record.new_version
        if isinstance(self._way, ConditionalWriter) and record.old_version is not None:
            with suppress(UnsupportedOperationError):
                told: str = self._ask(self._way.set_secret_if, self._key, record.new, record.old_version)
                return told
        version, value = self._now()
        if version != record.old_version or (record.old is not None and value != record.old):
            raise self._ledger.in_flight()
        self._ask(self._way.set_secret, self._key, record.new)
        return self._version()

    def _ended(self, record: Record, grace: timedelta) -> RotationResult:
        now = self._tools.clock()
        if grace and not record.undoes:
            try:
                until = now + grace
            except OverflowError:  # raised again by each resumption, as the new value is current by now
                until = datetime.max.replace(tzinfo=now.tzinfo)
            self._save(
                record,
                state="current",
                new=record.new if record.old is not None else None,
                error=None,
                rotated_at=now.isoformat(),
                until=until.isoformat(),
            )
        else:
            self._ask(self._ledger.remove)
        state: RotationState = "rolled_back" if record.undoes else "current"
        return RotationResult(self._key, state, record.old_version, record.new_version, now)

    def _take_back(self, record: Record) -> None:
        assert self._tools.apply is not None  # noqa: S101  # the caller asked
        old = self._old(record)
        try:
            new = self._new(record)
        except SecretNotFoundError:
            new = old  # somebody dropped the pending version
        try:
            self._try(record, "apply", self._tools.apply, new, old)
        except RotationError:
            # An `apply` that failed on the way there has most likely changed nothing.
            if record.state != "pending":
                raise
            if self._tools.verify is not None:
                self._try(record, "verify", self._tools.verify, old)

    # --- values and versions ---

    def _now(self) -> tuple[str | None, str]:
        version = self._version()
        return version, self._known(self._ask(self._room.get_secret, self._key))

    def _version(self) -> str | None:
        if not isinstance(self._room, Describer):
            return None
        try:
            told: str = self._ask(self._room.describe_secret, self._key).version
        except UnsupportedOperationError:
            return None
        return told

    def _version_if_any(self) -> str | None:
        with suppress(SecretNotFoundError):
            return self._version()
        return None

    def _pending(self) -> list[str]:
        if not (isinstance(self._room, StagedWriter) and isinstance(self._room, VersionReader)):
            return []
        with suppress(UnsupportedOperationError, SecretNotFoundError):
            versions = self._ask(self._room.list_versions, self._key)
            return [one.version for one in versions if one.state == "pending"]
        return []

    def _live(self, record: Record) -> Record | None:
        """Return the record, with its version, where readers get the new value already."""
        version, value = self._now()
        if record.new_version is not None:
            return record if version == record.new_version else None
        unwritten = version is not None and version == record.old_version
        if unwritten and record.old in {None, record.new}:
            return None  # also where the new value is the old one: its age begins anew as it is written
        return replace(record, new_version=version) if value == record.new else None

    def _old(self, record: Record) -> str:
        if record.old is not None:
            return self._known(record.old)
        if record.old_version is None:
            return self._now()[1]
        try:
            return self._known(self._ask(self._room.get_secret_version, self._key, record.old_version))
        except SecretNotFoundError:
            raise RotationError(
                f"the value of {show_key(self._key)} before its rotation is no longer there", key=self._key
            ) from None

    def _new(self, record: Record) -> str:
        if record.new is not None:
            return self._known(record.new)
        return self._known(self._ask(self._room.get_secret_version, self._key, record.new_version))

    def _known(self, value: str) -> str:
        return self._target.told(value) if isinstance(self._target, Pipeline) else value

    # --- failures ---

    def _try(self, record: Record, step: str, function: Callable[..., object], *values: str) -> None:
        try:
            outcome = function(self._key, *values)
        except Exception as error:  # noqa: BLE001  # a stranger's function may raise anything at all
            told = _told(values, error)
        else:
            if step == "apply" or outcome is not False:
                return
            told = "it returned False"
        # Outside the `except` block: the error may hold a value, and must not be the context of ours.
        self._note(record, f"{step}: {told}")
        raise RotationError(
            f"the rotation of {show_key(self._key)} is in flight: {step} failed: {told}",
            key=self._key,
            hint="readers get the old value; resume it to try again, or roll it back",
        )

    def _note(self, record: Record, told: str) -> None:
        wait = min(_FIRST_RETRY * 2 ** min(record.failures, _DOUBLINGS), _LAST_RETRY)
        retry_at = (self._tools.clock() + wait).isoformat()
        try:
            self._save(record, error=told, failures=record.failures + 1, retry_at=retry_at)
        except StrongroomError as error:
            _log.warning(
                "rotation of %s: what failed could not be noted: %s",
                show_key(self._key),
                type(error).__name__,
            )

    def _save(self, record: Record, **changes: Any) -> Record:
        return self._ask(self._ledger.save, record, **changes)

    def _ask(self, method: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        # Pipelines inside of a fallback have hooks of their own. `apply` is not one of our operations.
        with as_operation("rotate"):
            return method(*args, **kwargs)


def _told(values: tuple[str, ...], error: Exception) -> str:
    """Return what `error` says, without `values`."""
    name = type(error).__name__
    try:
        text = without(values, str(error))
    except Exception:  # noqa: BLE001  # a stranger's method
        return name
    if isinstance(error, StrongroomError):
        return text or name
    return f"{name}: {text}" if text else name
