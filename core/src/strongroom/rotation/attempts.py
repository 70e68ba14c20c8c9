"""Attempts: the record of a rotation names the one that works on it, so that no other disturbs its `apply`.

A conditional write keeps two processes apart in the store. Nothing keeps them apart in the target system: a
password that was sent late replaces whatever is there. So one attempt at a time holds the steps that cannot
be fenced (`apply`, promotion, the end), until it is over, its process has ended, or its time is over.
"""

from __future__ import annotations

import hashlib
import os
import platform
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from strongroom.rotation.ledger import Record

__all__ = ["Attempt", "attempting", "is_held", "marking"]

_VARIABLE = "ROTATION_ATTEMPT"
"""In the environment of a program that does a step of an attempt: a killed attempt may leave it running."""
_current: ContextVar[str | None] = ContextVar("strongroom_rotation_attempt", default=None)
_ENDED_STATES = frozenset({"Z", "X"})
_ongoing: set[str] = set()
"""The attempts of this process; those of a forked child's parent have another process id."""


class Attempt(NamedTuple):
    """One run of `rotate`, `resume` or `rollback`."""

    id: str
    """Machine (empty if it is not known), process id, start of the process, and a random part."""
    host: str
    """Where it runs, for people."""


@contextmanager
def attempting() -> Iterator[Attempt]:
    """Begin an attempt that ends with the block."""
    pid = os.getpid()
    one = Attempt(
        f"{_machine()}/{pid}/{_started(pid) or ''}/{secrets.token_hex(8)}",
        f"{platform.node()}, process {pid}",
    )
    _ongoing.add(one.id)
    token = _current.set(one.id)
    try:
        yield one
    finally:
        _current.reset(token)
        _ongoing.discard(one.id)


def marking() -> dict[str, str]:
    """Return the variables that mark a program as one of the attempt of this context, if there is one."""
    attempt = _current.get()
    return {} if attempt is None else {_VARIABLE: attempt}


def is_held(record: Record, now: datetime) -> bool:
    """Return whether an attempt may be in the middle of a step of `record`, so that no other may begin."""
    if record.attempt is None or record.step is None or record.held_until is None:
        return False
    return now < datetime.fromisoformat(record.held_until) and not _has_ended(record.attempt)


def _has_ended(attempt: str) -> bool:
    """Return whether it is known that `attempt` is over; on another machine that is not known."""
    machine, number, started, *_ = [*attempt.split("/"), "", "", ""]
    if not machine or machine != _machine() or not number.isdecimal():
        return False
    pid = int(number)
    if pid == os.getpid():
        return attempt not in _ongoing
    ended = bool(started) and _started(pid) != started
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        ended = True
    except OSError:  # it is another user's, of whose processes /proc may show nothing: `hidepid`
        ended = ended and os.access(f"/proc/{pid}/stat", os.R_OK)
    return ended and not _has_program(attempt)


def _has_program(attempt: str) -> bool:
    """Return whether a program that does a step of `attempt`, or one that it has started, still runs.

    As far as this is known: other systems than Linux do not show it, nor do processes of other users.
    """
    mark = f"{_VARIABLE}={attempt}".encode()
    for process in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if mark in process.read_bytes().split(b"\0"):
                return True
    return False


@cache
def _machine() -> str:
    """Return an id of this machine's boot and of its process numbering, or "" if there is none."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
        numbering = Path("/proc/self/ns/pid").readlink()  # each container of a machine has its own
    except OSError:
        return ""
    return hashlib.sha256(f"{boot} {numbering}".encode()).hexdigest()[:16]


def _started(pid: int) -> str | None:
    """Return when the process began, in ticks since boot: by now another process may have its number."""
    with suppress(OSError, IndexError):
        # The name, in brackets, may hold anything; the state and further numbers follow it: proc(5).
        after = (
            Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        )
        return None if after[0] in _ENDED_STATES else after[19]
    return None
