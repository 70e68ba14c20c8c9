"""The earlier values that the target system still takes, until their time is over."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from strongroom.errors import RotationError, StrongroomError, show_key
from strongroom.rotation.held_record import released

if TYPE_CHECKING:
    from strongroom.rotation.held_record import HeldRecord
    from strongroom.rotation.ledger import Record
    from strongroom.rotation.secret import Secret
    from strongroom.rotation.settings import RotationSettings
    from strongroom.rotation.target_system import TargetSystem

__all__ = ["Stale", "StaleValues"]

Stale = tuple[tuple[str, str], ...]
"""Each value, and until when it works."""
_log = logging.getLogger("strongroom.rotation")


class StaleValues:
    """Retires the earlier values of one secret that its record names.

    Args:
        secret: The secret.
        held: The record of its rotation.
        settings: What is the same for all keys.
        system: The target system that retires them.
    """

    def __init__(
        self, secret: Secret, held: HeldRecord, settings: RotationSettings, system: TargetSystem
    ) -> None:
        self._secret = secret
        self._held = held
        self._settings = settings
        self._system = system

    def left_after(self, record: Record) -> Stale:
        """Retire the values of a rotation that took effect whose time is over, and return the others."""
        return self._system.left_of(record, self._secret.new(record)) if record.stale else ()

    def left_before_next(self, record: Record) -> Stale:
        """Retire the values of `record` whose time is over before a rotation begins, and return the others.

        If one cannot be retired, return all: the rotation that begins does it, and may be what makes that
        possible. If somebody has set a value that the target system does not take, none is retired before it
        takes the one that readers get.
        """
        try:
            return self._system.left_of(record)
        except RotationError as error:
            self.warn(record, error)
        return record.stale

    def without_expired(self, record: Record) -> Record:
        """Return `record`, which is settled, after retiring the values whose time is over, if possible."""
        now = self._settings.clock()
        if not any(datetime.fromisoformat(until) < now for _, until in record.stale):
            return record
        try:
            left = self._system.left_of(record)
            return (
                record if left == record.stale else self._held.save(replace(record, stale=left), **released())
            )
        except StrongroomError as error:
            self.warn(record, error)
        return record

    def end(self, record: Record) -> None:
        """End a rotation whose time for a rollback is over: retire its old values, and drop the record.

        Raises:
            RotationError: One cannot be retired.
        """
        if record.stale and self._settings.rotator is None:
            return  # a process with the rotator does it
        self._held.close(record, record.state, self._system.left_of(record))

    def warn(self, record: Record, error: StrongroomError) -> None:
        """Log that `error` kept a value of `record`, if it has any, from being retired."""
        if record.stale:
            _log.warning(
                "%s: an earlier value could not be revoked, and still works: %s",
                show_key(self._secret.key),
                error,
            )
