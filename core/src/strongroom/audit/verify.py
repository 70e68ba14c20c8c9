"""Whether a log is what was written to it, and if not, the first line that is not."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from strongroom.audit.chain import GENESIS, HEAD_BYTES, Chain, Head, Link
from strongroom.audit.keys import KeySource
from strongroom.audit.lines import NOTE
from strongroom.errors import AuditError, ConfigurationError

__all__ = ["AuditReport", "joined", "verify_audit_log"]

_MAX_LINE = 1 << 20
_NOTE_MARK = f'"operation":"{NOTE}"'.encode("ascii")
"""No other member can hold these bytes: quotes inside of JSON text are escaped."""


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What `verify_audit_log` found.

    Attributes:
        ok: Whether every line is what was written, and none is missing.
        entries: The lines that verified before the first bad one.
        first_bad_line: Counted from 1; the place where a line is missing, where one is. None where no line
            is bad.
        reason: What is wrong, or why the log is not anchored.
        anchored: Whether the end is known from the head, or from an anchor kept elsewhere: otherwise lines
            may have been cut off it.
        first: The number of the first line in the chain; more than 1 where earlier lines are in another file.
        last: The number of the last line that verified.
        before: The MAC of the line before the first, which the file before this one ends with.
        head: The MAC of the last line that verified: an anchor, to be kept elsewhere.
        settled: Number and MAC of the last line before the last append, whose writer may have died before the
            head knew of it.
    """

    ok: bool
    entries: int
    first_bad_line: int | None
    reason: str | None
    anchored: bool
    first: int = 0
    last: int = 0
    before: str = GENESIS
    head: str = GENESIS
    settled: tuple[int, str] = (0, GENESIS)


def verify_audit_log(
    path: str | os.PathLike[str],
    key: str | bytes | None = None,
    *,
    key_file: str | os.PathLike[str] | None = None,
    expect_head: str | None = None,
) -> AuditReport:
    """Verify the chain of an audit log, in time linear in its length.

    Args:
        path: The log.
        key: Its key; without it that of `key_file`, else of STRONGROOM_AUDIT_KEY, else `<path>.key`.
        key_file: The file that holds the key.
        expect_head: The `head` that an earlier report told: the chain must go through it.

    Raises:
        ConfigurationError: There is no such log and no head of one, or no key.
        AuditError: The log cannot be read; that it is not there, though its head is, is in the report.
    """
    whole = os.path.abspath(os.fspath(path))  # noqa: PTH100  # stays text
    if not any(map(os.path.lexists, (whole, f"{whole}.head"))):
        raise ConfigurationError(f"there is no audit log {whole}")
    chain = Chain(KeySource(key, key_file).find(whole))
    try:
        with _snapshot(whole) as (descriptor, size, record):
            return _Checker(chain, record, expect_head).report(descriptor, size)
    except OSError as error:
        told = os.strerror(error.errno) if error.errno else type(error).__name__
        raise AuditError(f"the audit log {whole} cannot be read: {told}") from error


def joined(reports: Sequence[AuditReport]) -> list[AuditReport]:
    """Return the reports on the pieces of one chain, the oldest first, each held against the one before."""
    found = list(reports)
    for at in range(1, len(found)):
        earlier, later = found[at - 1], found[at]
        if not (earlier.ok and later.ok):
            continue
        begins = later.first - 1, later.before
        if begins in {(earlier.last, earlier.head), earlier.settled}:
            # Where a piece ends is known from how the next one begins.
            found[at - 1] = replace(earlier, anchored=True, reason=None)
        else:
            told = f"it does not follow the log before it, which ends with entry {earlier.last}"
            found[at] = replace(later, ok=False, first_bad_line=1, reason=told, anchored=False)
    return found


@contextlib.contextmanager
def _snapshot(path: str) -> Iterator[tuple[int | None, int, bytes | None]]:
    """Open log and head as they are between two writers: the log, its size, the record of the head."""
    with contextlib.ExitStack() as stack:
        record, log, size = None, None, 0
        with contextlib.suppress(FileNotFoundError):
            head = os.open(f"{path}.head", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            stack.callback(os.close, head)
            fcntl.flock(head, fcntl.LOCK_SH)
            record = os.pread(head, HEAD_BYTES + 1, 0)
        try:
            log = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            if record is None:
                raise
        if log is not None:
            stack.callback(os.close, log)
            status = os.fstat(log)
            if not stat.S_ISREG(status.st_mode):
                raise ConfigurationError(f"{path} is no ordinary file, so no audit log")
            size = status.st_size
        if record is not None:
            fcntl.flock(head, fcntl.LOCK_UN)
        yield log, size, record


class _BadLineError(Exception):
    """The first line that is wrong."""


class _Checker:
    """Walks through a log once."""

    def __init__(self, chain: Chain, record: bytes | None, expected: str | None) -> None:
        self.chain = chain
        self.record = record
        self.expected = expected.strip().lower() if expected is not None else None
        self.head: Head | None = chain.unpack(record) if record else None
        self.entries = 0
        self.line = 0
        self.first = self.head.first if self.head is not None else 0
        self.before = self.head.prev if self.head is not None else GENESIS
        self.seq, self.mac = self.first - 1, self.before  # -1: the first line tells where the file begins
        self.mac_at_head: str | None = self.before if self.head and self.head.seq == self.seq else None
        self.append: bytes | None = None  # the batch of the last line
        self.settled = (self.seq, self.mac)  # the end before the last append
        self.behind = 0  # appends that the head does not know
        # What an empty log begins with anchors nothing: every log goes through it.
        self.seen_expected = self.expected is None or self.expected == self.mac != GENESIS
        self.lost_head: str | None = None
        self.closing: tuple[int, str] | None = None

    def report(self, descriptor: int | None, size: int) -> AuditReport:
        lines = iter(()) if descriptor is None else _lines(descriptor, size)
        try:
            for line in lines:
                self._take(line)
            if self.closing is not None:
                self._bad("this line was changed, or written by somebody else", at=self.closing[0])
            self._end()
        except _BadLineError as found:
            at, reason = found.args
            if self.entries == 0 and self.record and self.head is None:
                reason = "neither this line nor the head was written under this key"
            moved = self._later(lines) if reason.endswith("removed") else None
            if moved is not None:
                reason = f"entry {self.seq + 1} is missing here: it was moved to line {moved}"
            return self._made(ok=False, bad=at, reason=reason, anchored=False)
        return self._anchored()

    def _take(self, line: bytes) -> None:
        self.line += 1
        if not line.endswith(b"\n"):
            self.line -= 1
            return  # a writer died here, and the next one will close the line
        link = self.chain.link(line[:-1])
        if self.closing is not None:
            self._take_the_note_on(self.closing, line, link)
        elif link is None:
            # Good only where the next line tells that a crash cut this one short.
            self.closing = (self.line, hashlib.sha256(line[:-1]).hexdigest())
        if link is not None:
            self._hang(line, link)

    def _take_the_note_on(self, closing: tuple[int, str], line: bytes, link: Link | None) -> None:
        at, digest = closing
        note = _note_of(line) if link is not None else {}
        if note.get("what") != "cut short" or not note.get("kept") or note.get("sha256") != digest:
            self._bad("this line was changed, or written by somebody else", at=at)
        self.closing = None

    def _hang(self, line: bytes, link: Link) -> None:
        if self.seq < 0:
            self.first, self.before = link.seq, link.prev
            self.seq, self.mac = link.seq - 1, link.prev if link.seq > 1 else GENESIS
        if link.seq > self.seq + 1:
            self._bad(f"{_entries(self.seq + 1, link.seq - 1)} missing here: removed")
        if link.seq <= self.seq:
            self._bad(f"this line is entry {link.seq} again: a copy, or moved from elsewhere")
        if link.prev != self.mac:
            self._bad("this line does not follow the one before: one of them belongs to another log")
        batch = _batch_of(line)
        if batch is None or batch != self.append:
            self.append, self.settled = batch, (self.seq, self.mac)
            self.behind += self.head is not None and link.seq > self.head.seq
        self.seq, self.mac = link.seq, link.mac
        self.entries += 1
        if self.head is not None and link.seq == self.head.seq:
            self.mac_at_head = link.mac
        self.seen_expected = self.seen_expected or link.mac == self.expected
        if _NOTE_MARK in line and _note_of(line).get("what") == "head":
            self.lost_head = f"its head was {_note_of(line).get('why')} before line {self.line}"

    def _end(self) -> None:
        if self.record is not None and self.record and self.head is None:
            raise _BadLineError(None, "the head was changed, or belongs to another key")
        if self.head is None:
            return
        if self.seq < self.head.seq:
            self._bad(f"{_entries(self.seq + 1, self.head.seq)} missing: cut off the end", at=self.line + 1)
        if self.mac_at_head != self.head.mac:
            raise _BadLineError(None, "the head was changed: it belongs to another chain")

    def _anchored(self) -> AuditReport:
        if self.expected is not None and self.expected == self.mac:
            return self._made(ok=True, bad=None, reason=None, anchored=True)
        if not self.seen_expected:
            told = "the expected head is not in this log: entries were cut off, or it is another log"
            return self._made(ok=False, bad=None, reason=told, anchored=False)
        reason = self.lost_head
        if self.head is None:
            reason = "it has no head: whether entries were cut off its end is not known"
            if self.first > 1:
                reason += f"; it begins with entry {self.first}"
        elif self.behind > 1:
            # One append may be ahead of its head, where its writer died in between.
            behind = self.seq - self.head.seq
            reason = f"its head is {behind} entries behind: an older one was put back, or the power failed"
        return self._made(ok=True, bad=None, reason=reason, anchored=reason is None)

    def _later(self, rest: Iterator[bytes]) -> int | None:
        """Return the line that the missing entry was moved to."""
        at = self.line
        for line in rest:
            at += 1
            link = self.chain.link(line[:-1])
            if link is not None and link.seq == self.seq + 1:
                return at
        return None

    def _bad(self, reason: str, *, at: int | None = None) -> None:
        raise _BadLineError(self.line if at is None else at, reason)

    def _made(self, *, ok: bool, bad: int | None, reason: str | None, anchored: bool) -> AuditReport:
        return AuditReport(
            ok,
            self.entries,
            bad,
            reason,
            anchored,
            max(self.first, 0),
            max(self.seq, 0),
            self.before,
            self.mac,
            self.settled,
        )


def _lines(descriptor: int, size: int) -> Iterator[bytes]:
    with os.fdopen(os.dup(descriptor), "rb") as file:
        left = size
        while left > 0:
            line = file.readline(min(left, _MAX_LINE))
            if not line:
                return
            left -= len(line)
            yield (
                line if line.endswith(b"\n") or left <= 0 else line + b"\n"
            )  # far too long: it verifies in no case


def _batch_of(line: bytes) -> bytes | None:
    at = line.rfind(b'"batch":"')  # no member's text can hold these bytes, for quotes in it are escaped
    return line[at : line.find(b'"', at + 9)] if at >= 0 else None


def _note_of(line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line).get("note")
    except (ValueError, AttributeError):
        return {}
    return found if isinstance(found, dict) else {}


def _entries(first: int, last: int) -> str:
    return f"entry {first} is" if first == last else f"entries {first} to {last} are"
