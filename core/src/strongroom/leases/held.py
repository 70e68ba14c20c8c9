"""A lease that this process holds: until when its values are good, and when it is renewed or replaced."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from strongroom.errors import BackendUnavailableError, show_key
from strongroom.leases.calls import LeaseName
from strongroom.parallel import SingleEntryLock
from strongroom.providers import Lease

__all__ = ["HeldLease", "LeaseTimes"]

_RENEW_BEFORE: Final = 1 / 3
"""The part of a life that is left when a lease is renewed, or replaced if it cannot be."""
_JITTER: Final = 0.05
_SHORTENED: Final = 0.75
"""A renewal that gives less than this part of the first life shows that the lease's greatest age is near."""
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 30.0


@dataclass(eq=False)
class HeldLease:
    """A lease that this process holds; times are of the monotonic clock.

    Attributes:
        name: Its tenant and key.
        lease: As it was issued or renewed last.
        text: What a read returns.
        ends: When the values end.
        life: Seconds that it lived when it was new.
        act_at: When it is renewed or replaced.
        last: Whether it is then replaced, not renewed.
        pause: Seconds to wait after a failure.
        checked: When the server was asked for it last.
        lock: Held while it is renewed or replaced.
    """

    name: LeaseName
    lease: Lease
    text: str
    ends: float
    life: float
    act_at: float
    last: bool
    pause: float = 0.0
    checked: float = 0.0
    lock: SingleEntryLock = field(default_factory=lambda: SingleEntryLock("a lease"))


@dataclass(frozen=True)
class LeaseTimes:
    """Says when a held lease ends, and when to act on it.

    Args:
        clock: Monotonic seconds.
        now: The aware time now.
        uniform: Draws a number between two others.
    """

    clock: Callable[[], float]
    now: Callable[[], datetime]
    uniform: Callable[[float, float], float]

    def hold(self, name: LeaseName, lease: Lease, started: float) -> HeldLease:
        """Return a lease as held that was asked for at `started`.

        Raises:
            BackendUnavailableError: It had ended as it was issued.
        """
        key = name[1]
        life = (lease.expires_at - lease.issued_at).total_seconds()
        left, took = (lease.expires_at - self.now()).total_seconds(), self.clock() - started
        if not (life > 0 and left + took > 0):  # else one would be issued after the other, without a pause
            raise BackendUnavailableError(
                f"the lease of {show_key(key)} had ended as it was issued",
                key=key,
                hint="compare the clocks of this machine and of the server",
            )
        now = self.clock()
        held = HeldLease(name, lease, lease.as_json(), now + left, life, 0.0, not lease.renewable)
        # A provider may give what it has issued before, of whose life little is left: not again at once.
        held.act_at = max(held.ends - self._margin(held), now + max(left * _RENEW_BEFORE, _FIRST_PAUSE))
        held.checked = started
        return held

    def life_of(self, renewed: Lease, started: float) -> float:
        """Return the seconds that a lease lives whose renewal was asked for at `started`."""
        return (renewed.expires_at - self.now()).total_seconds() + (self.clock() - started)

    def renew(self, held: HeldLease, renewed: Lease, started: float, life: float) -> None:
        """Let `held` go on as `renewed`, for `life` seconds from `started` on."""
        held.lease, held.pause = renewed, 0.0
        held.ends = started + life
        # A lease that gets less than before is near its greatest age, and is replaced next.
        held.last = not renewed.renewable or life < held.life * _SHORTENED
        held.act_at = max(held.ends - self._margin(held), started)
        held.text = renewed.as_json()

    def postpone(self, held: HeldLease) -> None:
        """Let it be tried again after a growing pause that leaves time for several tries before the end."""
        now = self.clock()
        left = held.ends - now
        held.pause = min(max(held.pause * 2, _FIRST_PAUSE), _LONGEST_PAUSE)
        if left > 0:
            held.pause = min(held.pause, max(left / 4, _FIRST_PAUSE))
        held.act_at = now + held.pause

    def _margin(self, held: HeldLease) -> float:
        """Return how long before its end a lease is renewed or replaced: a part of its life when it was new.

        So a connection from a pool has that long to live, even at the lease's greatest age.
        """
        return held.life * self.uniform(_RENEW_BEFORE, _RENEW_BEFORE + _JITTER)
