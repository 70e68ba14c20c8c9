"""The steps of one secret's rotation: another process can safely repeat each of them.

claim   the record is written, and only one can be               pending
stage   the new value is a version that readers do not get
apply   the target system takes the new value                    applied
verify  the new value works there                                verified
promote readers get the new value, and caches drop the old one   current

The store refuses an attempt that was overtaken. The target system does not. So an attempt that finds after
its `apply` that it was overtaken makes sure that the target system has the value that readers get
(`_overtaken`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from strongroom.errors import (
    BackendUnavailableError,
    ConflictError,
    RotationError,
    SecretNotFoundError,
    StrongroomError,
    UnsupportedOperationError,
    show_key,
)
from strongroom.providers import ConditionalWriter, StagedWriter
from strongroom.rotation.attempts import Attempt, is_held
from strongroom.rotation.error_texts import explain_error
from strongroom.rotation.held_record import DisturbedError, HeldRecord, released
from strongroom.rotation.ledger import Record, mark_of
from strongroom.rotation.results import RotationResult, RotationState
from strongroom.rotation.secret import Look, Secret
from strongroom.rotation.settings import RotationSettings
from strongroom.rotation.stale_values import Stale, StaleValues
from strongroom.rotation.target import check_against_rules
from strongroom.rotation.target_system import TargetSystem

__all__ = ["RotationRun"]

T = TypeVar("T")
_MOST_ROUNDS: Final = 8
"""How often the target system may be given a value after which somebody has set another one."""
_log = logging.getLogger("strongroom.rotation")
_CHANGED: Final = (
    "see which value the target system accepts: `resume` has not touched it; "
    "`rollback` lets it take the value that readers get now"
)


class RotationRun:
    """One run of a rotation: from the old value to the new one, or back.

    Args:
        target: What answers the key.
        key: The secret.
        settings: What is the same for all keys.
        attempt: The attempt that does the steps.
    """

    def __init__(self, target: Any, key: str, settings: RotationSettings, attempt: Attempt) -> None:
        self._target = target
        self._key = key
        self._settings = settings
        self._secret = Secret(target, key)
        self._held = HeldRecord(self._secret, settings, attempt, self._overtaken)
        self._system = TargetSystem(self._secret, self._held, settings)
        self._stale = StaleValues(self._secret, self._held, settings, self._system)
        self._look: Look | None = None  # what `begin` saw, for the step after it
        self._fresh = False  # whether this attempt began the rotation, and no other came between
        self._effect: str | None = None  # what has taken effect, if only its record is left to be ended

    # --- what is recorded ---

    def recorded(self) -> Record | None:
        """Return the rotation that is in flight, or the last one while it can be rolled back."""
        record = self._held.read()
        if record is None or record.in_flight:
            return record
        if not self._is_over(record):
            return self._stale.without_expired(record)
        if is_held(record, self._settings.clock()):
            return None
        try:
            self._stale.end(record)  # old values must not outlive their time
        except ConflictError:
            return self._held.read()  # a new rotation has begun
        except StrongroomError as error:
            self._stale.warn(record, error)  # one that may not write here leaves that to others
        return None

    def current_record(self) -> Record | None:
        """Return what `recorded` does, or else a record for a pending version of another tool."""
        record = self.recorded()
        if record is not None and record.in_flight:
            return record
        look = self._secret.look()
        if not look.pending:
            return record
        return Record(self._key, old_version=look.version, new_version=look.pending[0])

    def forget(self) -> None:
        """Drop the record, even if it cannot be understood; the secret and its versions stay.

        Raises:
            ConflictError: An attempt works on it.
        """
        try:
            record = self._held.read()
        except RotationError:
            self._held.remove()
            return
        if record is not None:
            self._held.refuse_others(record)
            self._held.forget(record)

    def explain(self, error: StrongroomError) -> None:
        """Make `error` name the secret instead of the record, and say if a rotation is in flight."""
        explain_error(
            error, self._key, self._held.ledger.name, effect=self._effect, in_flight=self._held.in_flight
        )

    # --- forward ---

    def begin(self, make: Callable[[str], str], *, after: Record | None = None) -> Record:
        """Begin the rotation by writing its record.

        Args:
            make: Returns the new value for the old one.
            after: The rotation to undo, whose value readers must still get.

        Raises:
            ConflictError: One is in flight, or the secret was changed at the same time.
            SecretNotFoundError: There is no such secret.
        """
        earlier = self._held.read()
        if earlier is not None and earlier.in_flight:
            raise self._held.ledger.in_flight()
        stale: Stale = ()
        if earlier is not None:
            self._held.refuse_others(earlier)
            stale = self._stale.left_before_next(earlier)
        look = self._secret.look()
        if look.pending:
            raise ConflictError(
                f"a rotation of {show_key(self._key)} by another tool is in flight: it has a pending version",
                key=self._key,
                hint="leave it to that tool; or `resume` it, or `rollback`",
            )
        old = self._secret.value(look)
        if after is not None and self._secret.readers(after, look) != "new":
            raise self._changed_since()
        new = self._secret.observed(make(old))
        check_against_rules(self._target, self._key, old, new)
        record = Record(
            self._key,
            old_version=look.version,
            new=new,
            old=None if self._secret.keeps_versions(look) and self._system.retirer() is None else old,
            undoes=after is not None,
            stale=stale,
            begun=self._settings.apply is not None,
            **self._held.holder(self._next_step()),
        )
        self._look, self._fresh = look, True
        # A version is staged before the target system is touched, which makes the record last.
        return self._held.claim(record, lasting=not self._stages(), begins=True)

    def adopt(self, record: Record) -> Record:
        """Take over what `current_record` returned, so that no other attempt does at the same time.

        Raises:
            ConflictError: Another attempt may be in the middle of a step.
        """
        self._held.refuse_others(record)
        self._held.in_flight = True  # even if an outage keeps it from being taken over
        return self._held.claim(replace(record, **self._held.holder()))

    def finish(self, record: Record) -> RotationResult:
        """Do the steps that are left, also those of a rollback that has begun.

        Raises:
            RotationError: `apply` or `verify` failed; everything stays as it is for `resume` and `undo`.
            ConflictError: Another process does the same, or the secret was changed meanwhile.
        """
        while True:
            try:
                return self._back(record) if record.abandoned else self._forward(record)
            except DisturbedError as disturbed:
                record, self._fresh, self._effect = disturbed.record, False, None

    def _forward(self, record: Record) -> RotationResult:
        if record.state == "applied":
            record = self._checked_again(record)
        if record.state == "pending":
            untouched = self._fresh or not record.begun
            record = self._staged(record)
            if self._settings.apply is not None:
                self._stop_where_changed(record, untouched=untouched)
                old, new = self._secret.old(record), self._new(record)
                self._system.call(record, "apply", self._settings.apply, old, new, first=self._fresh)
            record = self._advanced(record, "applied")
        if record.state == "applied":
            if self._settings.verify is not None:
                self._system.call(record, "verify", self._settings.verify, self._new(record))
            record = self._advanced(record, "verified", step="promote")
        record = self._promoted(record)
        kind = "rollback" if record.undoes else "rotation"
        self._effect = f"the {kind} of {show_key(self._key)} took effect"
        return self._closed(record, self._settings.grace)

    def _checked_again(self, record: Record) -> Record:
        """Return `record`, applied by another attempt, as verified; or as pending, to be applied again.

        A target system may have lost what it took, and a program may have changed nothing.
        """
        if self._settings.apply is None or self._settings.verify is None:
            return record
        if self._system.takes(self._new(record), record):
            return self._advanced(record, "verified", step="promote")
        return replace(record, state="pending")

    # --- back ---

    def undo(self, record: Record) -> RotationResult:
        """Put the old value back into use.

        Raises:
            RotationError: `apply` could not put the old value back; the rotation stays in flight.
        """
        while not record.abandoned and self._secret.readers(record, self._secret.look()) == "new":
            try:
                # At least as long as putting it back may take: if we die, the old value still ends in time.
                settled = self._settled(record, max(self._settings.grace, self._settings.patience))
            except DisturbedError as disturbed:  # putting the value back sets the target system again
                record, self._fresh = disturbed.record, False
            else:
                return self.put_back(settled)
        return self.finish(replace(record, abandoned=True))

    def _back(self, record: Record) -> RotationResult:
        # From here on the target system may have the old value: a resumption must not go forward.
        record = self._held.save(record, abandoned=True, step="rollback")
        new = self._secret.new(record) if record.begun and self._system.retirer() is not None else None
        for _ in range(_MOST_ROUNDS):
            look = self._secret.look()
            goal = self._secret.value(look)
            if record.begun and self._settings.apply is not None:
                self._take_back(record, look, goal)
                record = self._held.save(record, step="rollback")
                if self._secret.value(self._secret.look()) != goal:
                    continue  # somebody has changed the secret meanwhile: the target system has to follow
            if self._discarded(record):
                break
        else:
            raise self._outrun(record)
        readers = self._secret.readers(record, self._secret.look())
        state: RotationState = "current" if readers == "new" else "rolled_back"
        self._effect = f"the rollback of {show_key(self._key)} took effect"
        if record.begun:
            self._system.retire(record, goal, *((record.old,) if readers != "old" else ()), new)
        self._held.close(record, state, self._system.left_of(record))
        return RotationResult(self._key, state, record.old_version, record.new_version)

    def _outrun(self, record: Record) -> RotationError:
        """Return the error for a secret that is written faster than the target system takes its values."""
        reason = "the secret was changed each time the target system had taken its value"
        self._held.note(record, reason)
        return RotationError(
            f"the rollback of {show_key(self._key)} is in flight: {reason}",
            key=self._key,
            hint="stop what sets the secret, then repeat the rollback",
        )

    def put_back(self, last: Record) -> RotationResult:
        """Rotate to the value that `last` replaced; this can be resumed like any rotation.

        Raises:
            RotationError: The secret was changed since then, or the previous value is no longer there.
        """
        if self._secret.readers(last, self._secret.look()) != "new":
            raise self._changed_since()
        before = self._secret.old(last)
        return self.finish(self.begin(lambda _: before, after=last))

    # --- the steps ---

    def _staged(self, record: Record) -> Record:
        """Return `record` with the new value staged if the backend can, and ready for `apply`."""
        changes: dict[str, Any] = {}
        if record.new_version is None and record.new is not None and self._stages():
            version = self._stage(record)
            if version is not None:
                self._secret.remember(version, record.new)
                changes = {"new_version": version, "new": None}
        if self._fresh and self._settings.apply is not None and (changes or not self._stages()):
            return replace(record, **changes)  # others are kept away by the claim; `applied` records it
        if self._settings.apply is not None:
            changes |= {"begun": True}
        elif self._settings.verify is not None and not changes:
            return record
        return self._held.save(record, **changes, step=self._next_step())

    def _next_step(self) -> str | None:
        """Return the step after staging that the attempt has to hold, if any."""
        if self._settings.apply is not None:
            return "apply"
        return "promote" if self._settings.verify is None else None

    def _stages(self) -> bool:
        return isinstance(self._secret.write_chain, StagedWriter)

    def _stage(self, record: Record) -> str | None:
        look, self._look = self._look or self._secret.look(), None
        assert record.new is not None  # noqa: S101  # the caller asked
        for version in look.pending:
            if self._ask(self._secret.record_store.get_secret_version, self._key, version) == record.new:
                return version  # staged by an attempt that died before it could record that
        if look.pending:
            if self._fresh or not record.begun:
                self._held.forget(record)  # nothing has happened yet
            raise ConflictError(
                f"{show_key(self._key)} has a pending version that is not of this rotation",
                key=self._key,
                hint="leave it to the tool that staged it, then rotate again",
            )
        try:
            staged: str = self._ask(self._secret.write_chain.stage_secret, self._key, record.new)
        except UnsupportedOperationError:
            return None
        except BackendUnavailableError:
            raise
        except StrongroomError:
            # The backend refuses this value: nothing has happened, so nothing is in flight.
            self._held.forget(record)
            raise
        return staged

    def _stop_where_changed(self, record: Record, *, untouched: bool) -> None:
        """Raise if readers get a value that somebody else set: then the target system is left alone."""
        if self._secret.readers(record, self._secret.look()) != "other":
            return
        if untouched:
            self._discarded(record)
            self._held.forget(record)
            raise ConflictError(
                f"{show_key(self._key)} was changed as its rotation began",
                key=self._key,
                hint="look whether it still needs one",
            )
        raise self._stopped(record)

    def _stopped(self, record: Record) -> ConflictError:
        if self._settings.apply is None and self._settings.verify is None:
            self._discarded(record)  # nothing else has happened
            self._held.forget(record)
            return ConflictError(
                f"{show_key(self._key)} was changed while it was being rotated", key=self._key
            )
        reason = "the secret was changed while it was being rotated"
        self._held.note(record, reason)
        return ConflictError(f"{show_key(self._key)}: {reason}", key=self._key, hint=_CHANGED)

    def _advanced(self, record: Record, state: RotationState, step: str | None = None) -> Record:
        if self._settings.apply is None and self._settings.verify is None:
            return replace(record, state=state)  # nothing has happened that must not be repeated
        # A loss of power may undo this write: then the steps before are repeated. Promoting makes it last.
        return self._held.save(record, lasting=False, state=state, step=step, error=None, retry_at=None)

    def _promoted(self, record: Record) -> Record:
        """Let readers get the new value, and return `record` with its version."""
        if not self._fresh:  # it may have been done already
            look = self._secret.look()
            if self._secret.readers(record, look) == "new":
                self._stop_where_written_over(record, look)
                return replace(record, new_version=record.new_version or look.version)
        self._held.touched = self._secret.new(record) if self._settings.apply is not None else None
        try:
            return replace(record, new_version=self._write(record))
        except ConflictError:
            pass
        look = self._secret.look()
        if self._secret.readers(record, look) == "new":  # the answer to the first try was lost
            return replace(record, new_version=record.new_version or look.version)
        raise self._stopped(record)

    def _write(self, record: Record) -> str | None:
        chain = self._secret.write_chain
        if record.new is None:  # it is staged
            assert record.new_version is not None  # noqa: S101  # `_staged` set one of the two
            return self._promote(record, record.new_version)
        if isinstance(chain, ConditionalWriter) and record.old_version is not None:
            with suppress(UnsupportedOperationError):
                version: str = self._ask(chain.set_secret_if, self._key, record.new, record.old_version)
                return version
        if self._secret.readers(record, self._secret.look()) == "other":
            raise self._held.ledger.in_flight()
        self._ask(chain.set_secret, self._key, record.new)
        look = self._secret.look()
        self._stop_where_written_over(record, look)
        return look.version

    def _stop_where_written_over(self, record: Record, look: Look) -> None:
        """Raise if the new value, which readers get, has replaced a value that somebody else had set.

        A backend without conditional writes does not refuse that. The target system may have the other value,
        so it has to take the new one again; from now on the rotation replaces that other value.
        """
        replaced = None if record.new_version is not None else self._secret.replaced(look)
        if replaced in {record.old_version, None}:
            return
        reason = "the secret was changed by somebody else, and its new value was written over that"
        record = replace(record, state="pending", old_version=replaced)
        if record.old is not None and replaced is not None:  # to be retired later
            over = (record.old, self._settings.clock().isoformat())
            record = replace(record, old=self._secret.value_of(replaced), stale=(*record.stale, over))
        self._held.note(record, reason)
        hint = "readers get the new value: `resume` lets the target system take it, or roll it back"
        raise RotationError(f"{show_key(self._key)}: {reason}", key=self._key, hint=hint)

    def _promote(self, record: Record, version: str) -> str:
        promote = self._secret.write_chain.promote_version
        try:
            self._ask(promote, self._key, version, expected_version=record.old_version)
        except SecretNotFoundError:
            value = self._secret.remembered(version)
            if value is None or self._secret.readers(record, self._secret.look()) != "old":
                raise
        else:
            return version
        # Somebody dropped the pending version, but the target system has its value: stage it again.
        again: str = self._ask(self._secret.write_chain.stage_secret, self._key, value)
        self._secret.remember(again, value)
        record = self._held.save(record, new_version=again, step="promote")
        self._ask(promote, self._key, again, expected_version=record.old_version)
        return again

    def _closed(self, record: Record, grace: timedelta) -> RotationResult:
        if grace and not record.undoes:
            self._settled(record, grace)
        else:
            if self._settings.rotator is not None and self._system.retirer() is not None:
                self._system.retire(record, self._new(record), record.old)
            # After a loss of power it may be in flight again; resuming it then only ends it.
            self._held.close(record, "current", self._stale.left_after(record), lasting=False)
        state: RotationState = "rolled_back" if record.undoes else "current"
        return RotationResult(
            self._key, state, record.old_version, record.new_version, self._settings.clock()
        )

    def _settled(self, record: Record, grace: timedelta) -> Record:
        """Reduce the record to what a rollback within `grace` needs, and return it."""
        now, until = self._settings.clock(), self._settings.after(grace)
        new = self._secret.new(record) if record.new_version is None else None
        stale = self._stale.left_after(record)
        if record.old is not None and self._system.retirer() is not None:
            stale = (*stale, (record.old, until.isoformat()))
        settled = self._held.save(
            Record(
                self._key,
                state="current",
                old_version=record.old_version,
                new_version=record.new_version,
                old=record.old,
                mark=None if new is None else mark_of(new),
                undoes=record.undoes,
                rotated_at=now.isoformat(),
                until=until.isoformat(),
                stale=stale,
            ),
            **released(),
        )
        self._held.in_flight = False
        return settled

    def _take_back(self, record: Record, look: Look, goal: str) -> None:
        """Let the target system take `goal`, the value that readers get."""
        assert self._settings.apply is not None  # noqa: S101  # the caller asked
        if self._secret.readers(record, look) == "other" and self._system.takes(goal, record):
            return  # somebody else has set it, in the target system, too
        new = self._secret.new(record)
        try:
            self._system.call(record, "apply", self._settings.apply, goal if new is None else new, goal)
        except RotationError:
            # If the first `apply` failed, it has most likely changed nothing.
            if record.state != "pending" or record.late:
                raise
            if self._settings.verify is not None:
                self._system.call(record, "verify", self._settings.verify, goal)

    def _discarded(self, record: Record) -> bool:
        """Drop the version that this rotation staged, and no other; return False if readers get it by now."""
        look = self._secret.look()
        if not self._stages() or self._secret.readers(record, look) == "new":
            return True
        mine = [one for one in look.pending if one == record.new_version]
        if record.new_version is None and record.new is not None:
            versions = self._secret.record_store.get_secret_version
            mine = [one for one in look.pending if self._ask(versions, self._key, one) == record.new]
        for version in mine:
            try:
                self._ask(self._secret.write_chain.discard_version, self._key, version)
            except SecretNotFoundError:
                pass
            except ConflictError:
                return self._secret.readers(record, self._secret.look()) != "new"
        return True

    # --- others ---

    def _overtaken(self, value: str) -> StrongroomError:
        """Let the target system, which got `value` from us, take what readers get; return the error to raise.

        Raises:
            RotationError: `apply` failed; a rotation in flight then records that.
        """
        for _ in range(_MOST_ROUNDS):
            found = self._held.read()
            try:
                if found is not None and found.in_flight:
                    self._disturb(found, value)
                    break
                look = self._secret.look()
                current = self._secret.value(look)
                if self._system.takes(current):
                    break
                self._restore(look, current, value)
                break
            except SecretNotFoundError:
                return ConflictError(
                    f"{show_key(self._key)} was deleted while it was being rotated",
                    key=self._key,
                    hint="the target system has the value of that rotation, which is stored nowhere",
                )
            except ConflictError:
                continue  # another attempt has written: look again
        else:
            return ConflictError(
                f"a rotation of {show_key(self._key)} was overtaken again and again by other processes",
                key=self._key,
                hint="stop them, then see whether the target system accepts the value that readers get",
            )
        return ConflictError(
            f"a rotation of {show_key(self._key)} was continued or ended by another process",
            key=self._key,
            hint="look at its status: the target system was given the value that readers get",
        )

    def _disturb(self, record: Record, value: str) -> None:
        """Make the attempt that holds `record` set the target system again."""
        changes: dict[str, Any] = {"begun": True, "late": record.late + 1}
        if not record.abandoned:
            changes["state"] = "pending"
        elif record.new is None and self._secret.new(record) is None:
            changes |= {"new": value, "new_version": None}
        self._held.overwrite(replace(record, **changes))

    def _restore(self, look: Look, current: str, value: str) -> None:
        self._held.touched = None
        record = Record(
            self._key,
            state="applied",
            old_version=look.version,
            old=None if self._secret.keeps_versions(look) else current,
            new=value,
            begun=True,
            abandoned=True,
            late=1,
            **self._held.holder("rollback"),
        )
        self.finish(self._held.claim(record))

    def _changed_since(self) -> RotationError:
        return RotationError(
            f"{show_key(self._key)} was changed after its rotation: nothing is put back",
            key=self._key,
            hint="see who has set it, and set the value that is right",
        )

    def _is_over(self, record: Record) -> bool:
        return record.until is None or self._settings.clock() > datetime.fromisoformat(record.until)

    def _new(self, record: Record) -> str:
        new = self._secret.new(record)
        if new is None:
            raise RotationError(
                f"the new value of {show_key(self._key)} is no longer there",
                key=self._key,
                hint="roll it back",
            )
        return new

    def _ask(self, method: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        return self._secret.ask(method, *args, **kwargs)
