"""What is the same for all keys that one `SecretRotation` rotates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from strongroom.cache.store import CacheStore
    from strongroom.rotation.rotators import Rotator

__all__ = ["Apply", "RotationSettings", "Verify"]

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
