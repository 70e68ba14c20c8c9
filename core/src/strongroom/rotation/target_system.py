"""The target system that takes the values: calls of its functions, and errors without values."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from contextlib import nullcontext, suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from strongroom.errors import RotationError, StrongroomError, show_key
from strongroom.rotation.redaction import redacted_error
from strongroom.rotation.rotators import Retirer, RotationStep, able, stepping

if TYPE_CHECKING:
    from strongroom.rotation.held_record import HeldRecord
    from strongroom.rotation.ledger import Record
    from strongroom.rotation.secret import Secret
    from strongroom.rotation.settings import RotationSettings

__all__ = ["TargetSystem"]

_OLD_STAYS: Final = "readers get the old value; resume it to try again, or roll it back"
_STALE: Final = 8
"""Earlier values that may work at the same time; if there are more, the oldest are retired early."""
_STALE_STAYS: Final = "the target system still accepts the previous value; repeat it as soon as that works"


class TargetSystem:
    """Calls `apply`, `verify` and `retire` for one secret.

    Args:
        secret: The secret.
        held: The record of its rotation, which notes failures.
        settings: What is the same for all keys, with the functions.
    """

    def __init__(self, secret: Secret, held: HeldRecord, settings: RotationSettings) -> None:
        self._secret = secret
        self._key = secret.key
        self._held = held
        self._settings = settings

    def call(
        self,
        record: Record,
        step: str,
        function: Callable[..., object],
        *values: str,
        hint: str = _OLD_STAYS,
        first: bool = False,
    ) -> None:
        """Call `function` with the key and `values`, as `step` of `record`, which notes a failure.

        `first` says that no attempt has done it before.

        Raises:
            RotationError: `function` raised, or `verify` returned False. The error and its context hold no
                value.
        """
        if step == "apply":
            self._held.touched = values[-1]
        try:
            with stepping(self._step(record, step, values, first=first)):
                outcome = function(self._key, *values)
        except Exception as error:  # noqa: BLE001  # a third party's function may raise anything at all
            reason = self._reason_of(error, record, values)
        else:
            if hasattr(outcome, "__await__"):  # it has done nothing yet
                reason = f"it returned a {type(outcome).__name__}, which nobody awaits"
            elif step != "verify" or outcome is not False:
                return
            else:
                reason = "it returned False"
        # Outside the `except` block: the error may hold a value, and must not be the context of ours.
        if not record.in_flight:
            raise RotationError(f"{show_key(self._key)}: {step} failed: {reason}", key=self._key, hint=hint)
        self._held.note(record, f"{step}: {reason}")
        raise RotationError(
            f"the rotation of {show_key(self._key)} is in flight: {step} failed: {reason}",
            key=self._key,
            hint=hint,
        )

    def _reason_of(self, error: Exception, record: Record, values: tuple[str, ...]) -> str:
        """Return what `error` says without any value of the secret, even one that the step did not get."""
        try:
            known = self._secret.known_values(record)
        except StrongroomError:
            return type(error).__name__  # what cannot be read cannot be looked for
        return redacted_error(error, (*values, *known))

    def _step(self, record: Record, step: str, values: tuple[str, ...], *, first: bool) -> RotationStep:
        old = values[0] if len(values) > 1 else None
        if old is None and self._settings.rotator is not None:
            with suppress(StrongroomError):
                old = self._secret.old(record)
        name: Any = "rollback" if step == "apply" and (record.abandoned or record.undoes) else step
        # The goal is part of it: a rollback may go on to a value that somebody else has set meanwhile.
        identity = f"{name} {record.late} {values[-1]}".encode(errors="surrogatepass")
        number = hmac.digest(record.id.encode(), identity, "sha256").hex()[:32]
        return RotationStep(number, name, old, repeated=not first)

    def takes(self, value: str, record: Record | None = None) -> bool:
        """Return whether `verify` says that `value` works; without a `verify`, that is not known: False.

        `record` is the rotation for which it is asked.
        """
        if self._settings.verify is None:
            return False
        step: Any = nullcontext()
        if record is not None:
            step = stepping(self._step(record, "verify", (value,), first=False))
        try:
            with step:
                outcome = self._settings.verify(self._key, value)
        except Exception:  # noqa: BLE001  # a third party's function may raise anything at all
            return False
        return outcome is not False and not hasattr(outcome, "__await__")

    def retirer(self) -> Retirer | None:
        """Return the rotator if it can retire values, else None."""
        found: Retirer | None = able(self._settings.rotator, Retirer)
        return found

    def retire(self, record: Record, current: str, *stale: str | None) -> None:
        """Remove each of `stale`, except `current`, which is in use.

        Raises:
            RotationError: One cannot be retired.
        """
        retirer = self.retirer()
        if retirer is None:
            return
        for value in dict.fromkeys(stale):
            if value is not None and value != current:
                self.call(record, "retire", retirer.retire, value, current, hint=_STALE_STAYS)

    def left_of(self, record: Record, readers_get: str | None = None) -> tuple[tuple[str, str], ...]:
        """Retire the stale values of `record` whose time is over, and return the others.

        `readers_get` is a value that is current again, and therefore not stale any more.

        Raises:
            RotationError: One of them cannot be retired.
        """
        stale = tuple(one for one in record.stale if one[0] != readers_get)
        if not stale or self._settings.rotator is None:
            return stale
        now = self._settings.clock()
        left = [one for one in stale if datetime.fromisoformat(one[1]) >= now][-_STALE:]
        over = [value for value, until in stale if (value, until) not in left]
        if over:
            kept = [value for value, _ in left]
            current = self._secret.value(self._secret.look())
            self.retire(record, current, *(value for value in over if value not in kept))
        return tuple(left)
