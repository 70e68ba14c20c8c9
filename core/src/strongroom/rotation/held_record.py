"""The record of a rotation, held and written by one attempt.

A write succeeds only while no other attempt has overtaken this one.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from strongroom.errors import BackendUnavailableError, ConflictError, StrongroomError, show_key
from strongroom.providers.call_hints import deferring_durability
from strongroom.rotation.attempts import Attempt, is_held
from strongroom.rotation.ledger import Ledger, Record

if TYPE_CHECKING:
    from strongroom.rotation.results import RotationState
    from strongroom.rotation.secret import Secret
    from strongroom.rotation.settings import RotationSettings

__all__ = ["DisturbedError", "HeldRecord", "released", "waits"]

_log = logging.getLogger("strongroom.rotation")
# The next due run may try again at once after a first failure: after a repair nobody has to wait.
_SECOND_RETRY: Final = timedelta(minutes=1)
_LAST_RETRY: Final = timedelta(days=1)
_DOUBLINGS: Final = 11
_MOST_REFUSALS: Final = 8
"""How often a backend may refuse to replace what this attempt has written: it may lag behind for a moment."""


class DisturbedError(Exception):
    """Our record says that the `apply` of an overtaken attempt came in late: the target must be set again."""

    def __init__(self, record: Record) -> None:
        super().__init__("an overtaken apply arrived late")
        self.record = record


class HeldRecord:
    """The record of one secret's rotation, and the attempt that writes it.

    Args:
        secret: The secret.
        settings: What is the same for all keys.
        attempt: The attempt that writes.
        overtaken: Called with the value of the target system if another attempt has gone on since this one
            touched it. Gives the target system the value that readers get, and returns the error to raise.

    Attributes:
        in_flight: Whether the record of this attempt is stored.
        touched: The value that this attempt gave to the target system or to readers, until a write shows that
            no other attempt came between.
    """

    def __init__(
        self,
        secret: Secret,
        settings: RotationSettings,
        attempt: Attempt,
        overtaken: Callable[[str], StrongroomError],
    ) -> None:
        self._secret = secret
        self._key = secret.key
        self._settings = settings
        self._attempt = attempt
        self._overtaken = overtaken
        self.ledger = Ledger(secret.record_store, secret.key, settings.lock)
        self._last: Record | None = None  # the last record in flight that this attempt wrote
        self._refused_over: Record | None = None
        self._refusals = 0
        self.in_flight = False
        self.touched: str | None = None

    def read(self) -> Record | None:
        """Return what is recorded now, None if nothing is."""
        record: Record | None = self._secret.ask(self.ledger.read)
        return record

    def overwrite(self, record: Record) -> None:
        """Replace the record that was read by `record`, even if another attempt holds it."""
        self._secret.ask(self.ledger.write, record)

    def remove(self) -> None:
        """Drop the record, whatever it says."""
        self._secret.ask(self.ledger.remove)

    def claim(self, record: Record, *, lasting: bool = True, begins: bool = False) -> Record:
        """Write `record` as the record of this attempt, which begins or takes over the rotation; return it.

        Args:
            record: What is written.
            lasting: Whether this write must survive a loss of power by itself; otherwise the next one makes
                it last.
            begins: Whether nothing has been done yet, so that a record with too little room is refused.

        Raises:
            ConflictError: Somebody else has written since it was read.
        """
        record = record if record.id else replace(record, id=secrets.token_hex(16))
        with nullcontext() if lasting else deferring_durability():
            self._secret.ask(self.ledger.write, record, begins=True, room=begins)
        self.in_flight = True
        return record

    def refuse_others(self, record: Record) -> None:
        """Raise if another attempt may be in the middle of a step of `record`.

        Raises:
            ConflictError: One may be.
        """
        if record.attempt != self._attempt.id and is_held(record, self._settings.clock()):
            raise ConflictError(
                f"a rotation of {show_key(self._key)} is in flight: {record.host} is at its {record.step}",
                key=self._key,
                hint=f"wait for it: it counts as dead at {record.held_until}, or when its process has ended",
            )

    def holder(self, step: str | None = None) -> dict[str, Any]:
        """Return the members that mark a record as held by this attempt, in the middle of `step`."""
        until = self._settings.after(self._settings.patience)
        return {
            "attempt": self._attempt.id,
            "host": self._attempt.host,
            "held_until": until.isoformat(),
            "step": step,
        }

    def save(self, record: Record, *, lasting: bool = True, **changes: Any) -> Record:
        """Write the next state, held by this attempt; `lasting` as for `claim`.

        Raises:
            ConflictError: Another process has gone on with, or undone, this rotation.
            BackendUnavailableError: Nobody else has written, and the backend refuses it again and again.
            DisturbedError: An attempt that was overtaken has written that its `apply` came in late.
        """
        changed = replace(record, **{**self.holder(), **changes})
        try:
            with nullcontext() if lasting else deferring_durability():
                self._secret.ask(self.ledger.write, changed)
        except ConflictError:
            pass
        else:
            self.touched = None
            self._last = changed if changed.in_flight else self._last
            return changed
        # Outside of the `except` block, since all that follows may raise other errors.
        stored = self.read()
        if stored is not None and stored.in_flight and stored.attempt == self._attempt.id:
            self._count_refusal(stored)
            raise DisturbedError(stored)
        self.in_flight = False
        touched, self.touched = self.touched, None
        if touched is None and self._last is not None and (stored is None or not stored.in_flight):
            # The rotation was ended without us: on purpose, or by a delete of the record that came in late.
            touched = self._secret.new(self._last) if self._last.begun else None
        raise self.ledger.in_flight() if touched is None else self._overtaken(touched)

    def _count_refusal(self, stored: Record) -> None:
        """Raise if writes over the same record of this attempt are refused for more than a moment."""
        self._refusals = self._refusals + 1 if stored == self._refused_over else 0
        self._refused_over = stored
        if self._refusals > _MOST_REFUSALS:
            raise BackendUnavailableError(
                f"the state of the rotation of {show_key(self._key)} cannot be written: each write is a "
                "conflict, and nobody else has written",
                key=self._key,
                hint="see whether the backend's conditional writes work",
            )

    def note(self, record: Record, message: str) -> None:
        """Record what went wrong, and that this attempt is over."""
        retry_at = None
        if record.failures:
            wait = min(_SECOND_RETRY * 2 ** min(record.failures - 1, _DOUBLINGS), _LAST_RETRY)
            retry_at = (self._settings.clock() + wait).isoformat()
        changes = {"error": message, "failures": record.failures + 1, "retry_at": retry_at, **released()}
        try:
            self.save(record, **changes)
        except ConflictError:
            raise
        except DisturbedError as disturbed:
            self.overwrite(replace(disturbed.record, **changes))
        except StrongroomError as error:
            _log.warning(
                "rotation of %s: what failed could not be noted: %s",
                show_key(self._key),
                type(error).__name__,
            )

    def close(
        self,
        record: Record,
        state: RotationState = "rolled_back",
        stale: tuple[tuple[str, str], ...] = (),
        *,
        lasting: bool = True,
    ) -> None:
        """Drop the record, `lasting` as for `forget`; or keep only its `stale` values, to be retired."""
        if not stale:
            self.forget(record, state, lasting=lasting)
            return
        kept = Record(
            self._key,
            state=state,
            old_version=record.old_version,
            new_version=record.new_version,
            until=max(until for _, until in stale),
            stale=stale,
        )
        self.save(kept, **released())
        self.in_flight = False

    def forget(self, record: Record, state: RotationState = "rolled_back", *, lasting: bool = True) -> None:
        """Drop the record: first its content, so that it counts as ended for an attempt that comes meanwhile.

        If it need not be `lasting`, a loss of power may bring it back.
        """
        self.save(
            Record(self._key, state=state, old_version=record.old_version, new_version=record.new_version),
            lasting=False,  # the removal is the next write
            step="end",
        )
        self.in_flight = False
        try:
            with nullcontext() if lasting else deferring_durability():
                self.remove()
        except BackendUnavailableError as error:
            # Its content says that nothing is in flight; the next look removes it.
            _log.warning(
                "%s: its ended record is left for the next look: %s", self._key, type(error).__name__
            )


def waits(record: Record, now: datetime) -> bool:
    """Return whether a due run leaves `record` alone for now, after its failures.

    A time further away than any pause was noted by a clock that was ahead.
    """
    if record.retry_at is None:
        return False
    return timedelta(0) < datetime.fromisoformat(record.retry_at) - now <= _LAST_RETRY


def released() -> dict[str, Any]:
    """Return the members that mark a record as held by no attempt."""
    return dict.fromkeys(("attempt", "host", "held_until", "step"))
