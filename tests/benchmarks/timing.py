"""Measuring two things in turns, so that whatever else the machine does falls on both."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def seconds(call: Callable[[], Any], times: int = 1) -> float:
    """Return the seconds that `times` calls take."""
    started = time.perf_counter()
    for _ in range(times):
        call()
    return time.perf_counter() - started


def medians(rounds: int, *calls: Callable[[], Any], times: int = 1) -> list[float]:
    """Return the median seconds of one call of each, taken in turns."""
    taken: list[list[float]] = [[] for _ in calls]
    for _ in range(rounds):
        for at, call in enumerate(calls):
            taken[at].append(seconds(call, times) / times)
    return [statistics.median(one) for one in taken]


def processor_seconds(command: Sequence[str], environment: Mapping[str, str]) -> float:
    """Return the processor seconds of a whole process: steadier than its wall time on a busy machine."""
    quiet = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    child = os.posix_spawn(command[0], command, environment, file_actions=quiet)
    _, status, used = os.wait4(child, 0)
    if status:
        raise RuntimeError(f"{command[0]} ended with {os.waitstatus_to_exitcode(status)}")
    return used.ru_utime + used.ru_stime


def row(name: str, ours: float, theirs: float, limit: float, *, unit: str = "ms") -> dict[str, Any]:
    """Return a row for `make bench`."""
    scale = {"s": 1, "ms": 1e3, "µs": 1e6, "ns": 1e9}[unit]
    detail = f"{ours * scale:.3g} {unit} against {theirs * scale:.3g} {unit}"
    return {"name": name, "ratio": ours / theirs, "limit": limit, "detail": detail}
