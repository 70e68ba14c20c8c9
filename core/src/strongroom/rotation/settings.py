"""What is the same for all keys that one `SecretRotation` rotates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from strongroom.errors import ConfigurationError
from strongroom.runtime.coroutines import refuse_async, refuse_class

if TYPE_CHECKING:
    from strongroom.cache.store import CacheStore
    from strongroom.rotation.rotators import Rotator

__all__ = ["Apply", "RotationSettings", "Verify", "aware", "check_functions"]

Apply = Callable[[str, str, str], object]
"""Called with the key, the old and the new value, to change the target system; again after a crash."""
Verify = Callable[[str, str], object]
"""Called with the key and the new value; raises, or returns False, if that does not work."""


@dataclass(frozen=True, slots=True)
class RotationSettings:
    """What is the same for all keys of a `SecretRotation`."""

    apply: Apply | None
    verify: Verify | None
    rotator: Rotator | None
    """The rotator whose methods the two are; None if they are functions."""
    grace: timedelta
    lock: CacheStore | None
    clock: Callable[[], datetime]
    patience: timedelta
    """How long one step of an attempt may take before others on other machines may count it as dead."""

    def after(self, span: timedelta) -> datetime:
        """Return the time `span` from now; the end of the calendar if that is beyond it."""
        now = self.clock()
        try:
            return now + span
        except OverflowError:
            return datetime.max.replace(tzinfo=now.tzinfo)


def check_functions(lock: Any, **functions: Any) -> None:
    """Raise `TypeError` if one of `functions`, by their names, is not a plain function, nor None.

    The same for the method `lock` of `lock`.

    A rotation would begin, and would then have to be rolled back.
    """
    if lock is not None:
        refuse_class(lock, "lock")
        functions["lock.lock"] = getattr(lock, "lock", None)
        if not callable(functions["lock.lock"]):
            raise TypeError(f"rotation: a {type(lock).__name__} is not a lock: it needs the method lock")
    refuse_async("rotation", **functions)
    for name, function in functions.items():
        if function is not None and not callable(function):
            raise TypeError(f"rotation: {name} must be a function, got a {type(function).__name__}")


def aware(clock: Callable[[], datetime]) -> Callable[[], datetime]:
    """Return `clock`, which raises if it gives no time, or one without a zone.

    No other process could read the record.
    """

    def now() -> datetime:
        time = clock()
        hint = "give a clock such as `lambda: datetime.now(UTC)`"
        if not isinstance(time, datetime):
            raise ConfigurationError(
                f"rotation: clock gives a {type(time).__name__}, and not a datetime", hint=hint
            )
        if time.tzinfo is None:
            raise ConfigurationError("rotation: the time of clock has no zone", hint=hint)
        return time

    return now
