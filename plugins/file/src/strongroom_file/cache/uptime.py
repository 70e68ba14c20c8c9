"""The time since the machine started, which no change of the clock affects."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

__all__ = ["Uptime", "UptimeClock", "machine_uptime"]

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_TIME_NAMESPACE: Final = Path("/proc/self/ns/time")


class Uptime(NamedTuple):
    """An id of the machine's last start, "" if it has none, and the seconds since then."""

    boot: str
    seconds: float


UptimeClock = Callable[[], Uptime]


def machine_uptime() -> Uptime:
    """Return the time since the machine started, sleep included: clock_gettime(2), CLOCK_BOOTTIME."""
    boot = _boot()
    return Uptime(boot, time.clock_gettime(time.CLOCK_BOOTTIME) if boot else 0.0)


@cache
def _boot() -> str:
    """Return an id that all processes share which count from the same start; "" if it is not known."""
    if not hasattr(time, "CLOCK_BOOTTIME"):
        return ""
    try:
        boot = _BOOT_ID.read_text("ascii").strip()
    except (OSError, ValueError):
        return ""
    with suppress(OSError):  # of a kernel before 5.6; a container may count from a moment of its own
        boot += f" {_TIME_NAMESPACE.readlink()}"
    return boot
