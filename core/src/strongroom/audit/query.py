"""Reading the lines of audit logs: filtered, followed, and counted. `verify` checks them."""

from __future__ import annotations

import json
import os
import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, BinaryIO

from strongroom.audit.pieces import UNREADABLE, open_piece, unreadable
from strongroom.audit.serialization import NOTE

__all__ = [
    "Entry",
    "Filter",
    "UsageCount",
    "count_uses",
    "entries",
    "follow",
    "last_entries",
    "parse_time",
    "read_since",
    "started_at",
]

Entry = Mapping[str, Any]
_TEXTS = ("operation", "key", "tenant", "actor", "started_at", "outcome")
"""Members of a line that are text, or null."""
_BLOCK = 64 << 10
_PAUSE_SECONDS = 0.2
_SPAN = re.compile(r"([0-9]{1,9})([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def parse_time(text: str, now: datetime) -> datetime:
    """Return the time that `text` says: ISO 8601 (UTC where it names no zone), or how long ago: `2h`, `7d`.

    Raises:
        ValueError: It is neither.
    """
    span = _SPAN.fullmatch(text.strip())
    if span is not None:
        return now - timedelta(**{_UNITS[span[2]]: int(span[1])})
    return _aware(datetime.fromisoformat(text.strip()))


def _aware(time: datetime) -> datetime:
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Filter:
    """Selects lines; None means any.

    `key` is a key, or the beginning of keys where it ends with `*`.
    """

    key: str | None = None
    tenant: str | None = None
    actor: str | None = None
    operation: str | None = None
    outcome: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def __call__(self, entry: Entry) -> bool:
        """Return whether `entry` is selected."""
        for member in ("tenant", "actor", "operation", "outcome"):
            wanted = getattr(self, member)
            if wanted is not None and entry.get(member) != wanted:
                return False
        return self._fits_key(entry) and self._fits_time(entry)

    def _fits_key(self, entry: Entry) -> bool:
        if self.key is None:
            return True
        key = str(entry.get("key"))
        return key.startswith(self.key[:-1]) if self.key.endswith("*") else key == self.key

    def _fits_time(self, entry: Entry) -> bool:
        if self.since is None and self.until is None:
            return True
        at = started_at(entry)
        if at is None:
            return False
        return (self.since is None or at >= self.since) and (self.until is None or at <= self.until)


def started_at(entry: Entry) -> datetime | None:
    """Return when the operation of `entry` began; None where it does not say so."""
    try:
        return _aware(datetime.fromisoformat(str(entry.get("started_at"))))
    except ValueError:
        return None


def entries(path: str) -> Iterator[Entry]:
    """Yield the lines of a log, unpacked where it ends with `.gz`.

    What is not a JSON object with the members of a line is left out: `verify` reports it.

    Raises:
        AuditError: It cannot be read.
    """
    try:
        with open_piece(path) as file:
            for line in file:
                entry = _parsed(line)
                if entry is not None:
                    yield entry
    except UNREADABLE as error:
        raise unreadable(path, error) from error


def last_entries(path: str, count: int) -> list[Entry]:
    """Return the last lines of a log, as many as `count`, without reading the ones before.

    Raises:
        AuditError: It cannot be read.
    """
    try:
        with open(path, "rb") as file:  # noqa: PTH123  # paths are text here
            start, end = file.seek(0, os.SEEK_END), b""
            while start and end.count(b"\n") <= count:
                start, before = max(0, start - _BLOCK), start
                file.seek(start)
                end = file.read(before - start) + end
    except UNREADABLE as error:
        raise unreadable(path, error) from error
    lines = end.rstrip(b" ").splitlines(keepends=True)[-count:]  # blanks: see `_added`
    return [entry for entry in map(_parsed, lines) if entry is not None]


def follow(
    path: str,
    last: int,
    chosen: Callable[[Entry], bool] = bool,
    *,
    sleep: Callable[[float], object] = time.sleep,
) -> Iterator[Entry]:
    """Yield the `last` entries of a log, and then each that is added, also after a rotation; it never ends.

    Args:
        path: The log; where it is not there yet, it is waited for.
        last: How many of the entries that are there come first.
        chosen: Tells which entries are meant; the others are passed over.
        sleep: What waits.
    """
    wanted: int | None = last
    while True:
        try:
            file = open(path, "rb")  # noqa: PTH123, SIM115  # paths are text here; closed below
        except FileNotFoundError:
            sleep(_PAUSE_SECONDS)
            continue
        with file:
            seen, gone = 0, False
            while True:
                seen, added = _added(file, seen, wanted, chosen)
                wanted = None  # from now on all of them
                yield from added
                if gone:
                    break
                gone = _is_gone(path, file, seen)  # if so, read once more: it may have been written to before
                if not gone:
                    sleep(_PAUSE_SECONDS)


def _added(
    file: BinaryIO, seen: int, wanted: int | None, chosen: Callable[[Entry], bool]
) -> tuple[int, deque[Entry]]:
    """Return the end of the last whole line, and the last `wanted` entries from the place `seen` on.

    What is behind that end may be a line that is being written or is taken away, or blanks, by which writers
    of older versions test the disk.
    """
    file.seek(0, os.SEEK_END)  # which drops what was read ahead
    file.seek(seen)
    added: deque[Entry] = deque(maxlen=wanted)
    for line in file:
        if line.endswith(b"\n"):
            seen += len(line)
            entry = _parsed(line)
            if entry is not None and chosen(entry):
                added.append(entry)
    return seen, added


def _is_gone(path: str, file: BinaryIO, seen: int) -> bool:
    """Return whether `path` is no longer the file that is open, or was cut before the place `seen`."""
    ours = os.fstat(file.fileno())
    try:
        there = os.stat(path)  # noqa: PTH116  # as above
    except FileNotFoundError:
        return True
    return (there.st_ino, there.st_dev) != (ours.st_ino, ours.st_dev) or ours.st_size < seen


@dataclass(slots=True)
class UsageCount:
    """How often an actor did something to a key, and when last."""

    actor: str
    tenant: str | None
    operation: str
    key: str
    count: int = 0
    refused: int = 0
    last: datetime | None = None


def count_uses(found: Iterable[Entry]) -> list[UsageCount]:
    """Count who did what to which key, the most frequent first; intents and notes do not count."""
    counted: dict[tuple[str, str | None, str, str], UsageCount] = {}
    for entry in found:
        if entry.get("outcome") is None or entry.get("operation") == NOTE:
            continue
        identity = (
            str(entry.get("actor")),
            entry.get("tenant"),
            str(entry.get("operation")),
            str(entry.get("key")),
        )
        use = counted.setdefault(identity, UsageCount(*identity))
        use.count += 1
        use.refused += entry.get("outcome") in {"denied", "vetoed", "error"}
        at = started_at(entry)
        if at is not None and (use.last is None or at > use.last):
            use.last = at
    return sorted(counted.values(), key=lambda use: (-use.count, use.key, use.operation, use.actor))


def read_since(found: Iterable[Entry], since: datetime) -> set[tuple[str | None, str]]:
    """Return tenant and key of each secret whose value somebody got since then."""
    read = set()
    for entry in found:
        at = started_at(entry)
        if (
            entry.get("operation") == "get"
            and entry.get("outcome") == "ok"
            and at is not None
            and at >= since
        ):
            read.add((entry.get("tenant"), str(entry.get("key"))))
    return read


def _parsed(line: bytes) -> Entry | None:
    """Return the line's members; None if it is not one that a log could have."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(entry, dict):
        return None
    return entry if all(isinstance(entry.get(name), str | None) for name in _TEXTS) else None
