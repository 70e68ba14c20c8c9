"""Whether a log is what was written to it, and if not, the first line that is not."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from strongroom.audit.chain import GENESIS, Chain, Head, Link
from strongroom.audit.key_source import KeySource
from strongroom.audit.pieces import UNREADABLE, Piece, find_earlier, open_pieces, unreadable
from strongroom.audit.serialization import NOTE
from strongroom.errors import ConfigurationError

__all__ = ["MISSING", "AuditReport", "as_one", "verify_audit_log", "verify_pieces"]

MISSING = "not in the files given"
"""How the reason ends where a log has lost its beginning."""
_NOTE_MARK = f'"operation":"{NOTE}"'.encode("ascii")
"""No other member can hold these bytes: quotes inside of JSON text are escaped."""


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What `verify_audit_log` found.

    Attributes:
        ok: Whether every line is what was written, and none is missing, not even at the beginning.
        entries: The lines that verified before the first bad one, counted over all pieces.
        first_bad_line: Counted from 1: the bad line, or the place where one is missing. None if no line is
            bad.
        reason: What is wrong, or why the log is not anchored.
        anchored: Whether the end is known from the head, or from an anchor kept elsewhere; otherwise lines
            may have been cut off.
        first: The number of the first line in the chain; more than 1 if earlier lines are in another file.
        last: The number of the last line that verified.
        before: The MAC of the line before the first; the previous file ends with it.
        head: The MAC of the last line that verified: an anchor, to be kept elsewhere.
        settled: Number and MAC of the last line before the last append, whose writer may have died before it
            updated the head.
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
    earlier: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = (),
    first: int = 1,
) -> AuditReport:
    """Verify the chain of an audit log, in time linear in its length.

    Args:
        path: The log.
        key: Its key; without it that of `key_file`, else of STRONGROOM_AUDIT_KEY, else `<path>.key`.
        key_file: The file that holds the key.
        expect_head: The `head` of an earlier report: the chain must go through it.
        earlier: The piece of the log that a rotation set aside, or several, the oldest first; those whose
            names end with `.gz` are unpacked.
        first: The number of the first entry that must exist: more than 1 if those before it were removed on
            purpose.

    Returns:
        One report on all of them. A log that begins later than with `first` is not whole, nor is one that
        ends before the entry ahead of it.

    Raises:
        ConfigurationError: There is no such log and no head of one, or no key.
        AuditError: The log cannot be read. If only its head exists, the report says so instead.
    """
    given = [earlier] if isinstance(earlier, str | os.PathLike) else earlier
    pieces = [os.fspath(one) for one in given]
    found = verify_pieces(
        path, key, key_file=key_file, expect_head=expect_head, earlier=pieces, first=first, look=False
    )
    return as_one(found)


def verify_pieces(
    path: str | os.PathLike[str],
    key: str | bytes | None = None,
    *,
    key_file: str | os.PathLike[str] | None = None,
    expect_head: str | None = None,
    earlier: Sequence[str] = (),
    first: int = 1,
    look: bool = True,
) -> list[tuple[str, AuditReport]]:
    """Verify a log and the pieces before it; return the path of each with a report on it.

    The arguments and errors are those of `verify_audit_log`. With `look`, pieces that are missing are looked
    for beside the log.
    """
    whole = os.path.abspath(os.fspath(path))  # noqa: PTH100  # stays text
    if not any(map(os.path.lexists, (whole, f"{whole}.head"))):
        raise ConfigurationError(f"there is no audit log {whole}")
    chain = Chain(KeySource(key, key_file).find(whole))
    expected = expect_head.strip().lower() if expect_head is not None else None
    with contextlib.ExitStack() as stack:
        pieces, record = open_pieces(whole, earlier, stack)
        if look:
            pieces = [*find_earlier(pieces, record, chain, first, stack), *pieces]
        reports: list[AuditReport] = []
        seen = False
        for at, piece in enumerate(pieces):
            last = at == len(pieces) - 1
            checker = _Checker(chain, record if last else None, expected, seen=seen)
            checker.begin(reports[-1] if reports else None, first)
            reports.append(_read(checker, piece, last=last))
            seen = checker.seen_expected
            if at and reports[-2].ok and checker.follows:
                # Where a piece ends is known from how the next one begins.
                reports[-2] = replace(reports[-2], anchored=True, reason=None)
        if reports[-1].ok and first > reports[-1].last + 1:
            # A number that is too high would excuse the loss of what was not removed on purpose.
            reason = f"there is no entry {first} or later: the last one is {reports[-1].last}"
            reports[-1] = replace(reports[-1], ok=False, anchored=False, reason=reason)
        return [(piece.name, report) for piece, report in zip(pieces, reports, strict=True)]


def as_one(named_reports: Sequence[tuple[str, AuditReport]]) -> AuditReport:
    """Return one report on the pieces of a chain."""
    reports = [report for _, report in named_reports]
    bad = next((at for at, report in enumerate(reports) if not report.ok), None)
    end = reports[-1]
    if bad is None:
        whole = replace(end, anchored=all(report.anchored for report in reports))
    else:
        name, piece = named_reports[bad]
        own_name = os.path.basename(name)  # noqa: PTH119  # stays text
        reason = piece.reason if bad == len(named_reports) - 1 else f"{own_name}: {piece.reason}"
        whole = replace(end, ok=False, first_bad_line=piece.first_bad_line, reason=reason, anchored=False)
        reports = reports[: bad + 1]
    entries = sum(report.entries for report in reports)
    return replace(whole, entries=entries, first=reports[0].first, before=reports[0].before)


def _read(checker: _Checker, piece: Piece, *, last: bool) -> AuditReport:
    try:
        return checker.report(piece.lines(), last=last)
    except UNREADABLE as error:
        raise unreadable(piece.name, error) from error


class _BadLineError(Exception):
    """The first line that is wrong."""


class _Checker:
    """Walks through a piece of a log once."""

    def __init__(self, chain: Chain, record: bytes | None, expected: str | None, *, seen: bool) -> None:
        self.chain = chain
        self.record = record
        self.expected = expected
        self.head: Head | None = chain.unpack(record) if record else None
        self.entries = 0
        self.line = 0
        self.least = 1  # the first entry may have this number, or a lower one
        self.first, self.before = 0, GENESIS
        self.seq, self.mac = -1, GENESIS  # -1: the first line says where the file begins
        self.mac_at_head: str | None = None
        self.append: bytes | None = None  # the batch of the last line
        self.settled = (self.seq, self.mac)  # the end before the last append
        self.behind = 0  # appends that the head does not know
        self.begins = True
        self.follows = False  # whether it is known to go on where the piece before it ends
        self.after: AuditReport | None = None
        self.seen_expected = expected is None or seen
        self.lost_head: str | None = None
        self.closing: tuple[int, str] | None = None

    def begin(self, after: AuditReport | None, least: int) -> None:
        """Set where this piece begins: behind the piece `after`, or else at its own beginning."""
        head = self.head
        ends: list[tuple[int, str]] = []
        if after is not None and after.ok:
            self.after = after
            self.first, self.before = after.last + 1, after.head
            self.settled = after.settled
            ends = [(after.last, after.head), after.settled]
            if head is not None and head.seq < after.last and head.seq == after.settled[0]:
                self.behind = 1  # its writer died between its append and the head's
        else:
            # If the piece before is bad, its report says so.
            self.least = least if after is None else 1 << 62
            if head is not None:
                self.first, self.before = head.first, head.prev
            ends = [(self.first - 1, self.before)]
        self.seq, self.mac = self.first - 1, self.before
        if after is None or not after.ok:
            self.settled = (self.seq, self.mac)
        self.mac_at_head = next((mac for seq, mac in ends if head is not None and seq == head.seq), None)
        # What an empty log begins with anchors nothing: every log goes through it.
        self.seen_expected = self.seen_expected or self.expected == self.mac != GENESIS

    def report(self, lines: Iterator[bytes], *, last: bool) -> AuditReport:
        """Return the report on a piece; the last one must end as the head says."""
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
        return self._anchored(last=last)

    def _take(self, line: bytes) -> None:
        self.line += 1
        if not line.endswith(b"\n"):
            self.line -= 1
            return  # a writer died here, and the next one will close the line
        link = self.chain.link(line[:-1])
        if self.closing is not None:
            self._require_note_on(self.closing, line, link)
        elif link is None:
            # Good only if the next line notes that a crash cut this one short.
            self.closing = (self.line, hashlib.sha256(line[:-1]).hexdigest())
        if link is not None:
            self._append(line, link)

    def _require_note_on(self, closing: tuple[int, str], line: bytes, link: Link | None) -> None:
        at, digest = closing
        note = _note_of(line) if link is not None else {}
        if note.get("what") != "cut short" or not note.get("kept") or note.get("sha256") != digest:
            self._bad("this line was changed, or written by somebody else", at=at)
        self.closing = None

    def _append(self, line: bytes, link: Link) -> None:
        if self.begins:
            self._append_first(link)
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
        self.begins, self.follows = False, self.after is not None
        self.entries += 1
        if self.head is not None and link.seq == self.head.seq:
            self.mac_at_head = link.mac
        self.seen_expected = self.seen_expected or link.mac == self.expected
        if _NOTE_MARK in line and _note_of(line).get("what") == "head":
            self.lost_head = f"its head was {_note_of(line).get('why')} before line {self.line}"

    def _append_first(self, link: Link) -> None:
        if self.after is not None:
            if (link.seq - 1, link.prev) == self.settled:
                self.seq, self.mac = self.settled  # as above: the next writer went on from the head
                self.first, self.before = link.seq, link.prev
            return
        if self.head is not None and link.seq > max(self.head.first, self.least):
            return  # more is missing than a rotation takes away
        self._require_beginning(link.seq)
        if self.head is None or link.seq != self.head.first:
            self.first, self.before = link.seq, link.prev
            self.seq, self.mac = link.seq - 1, link.prev if link.seq > 1 else GENESIS

    def _require_beginning(self, first: int) -> None:
        """Refuse a log that begins with entry `first`, unless those before it may be missing."""
        if first > self.least:
            entries = _entries(self.least, first - 1)
            self._bad(f"{entries} {MISSING}", at=1)

    def _end(self) -> None:
        if self.record is not None and self.record and self.head is None:
            raise _BadLineError(None, "the head was changed, or belongs to another key")
        if self.head is None:
            return
        if self.begins and self.after is None and self.head.seq < self.head.first:
            self._require_beginning(self.head.first)  # nothing was written since the rotation
        if self.seq < self.head.seq:
            self._bad(f"{_entries(self.seq + 1, self.head.seq)} missing: cut off the end", at=self.line + 1)
        if self.mac_at_head != self.head.mac:
            raise _BadLineError(None, "the head was changed: it belongs to another chain")
        self.follows = self.after is not None

    def _anchored(self, *, last: bool) -> AuditReport:
        if self.expected is not None and self.expected == self.mac:
            return self._made(ok=True, bad=None, reason=None, anchored=True)
        if last and not self.seen_expected:
            missing = "the expected head is not in this log: entries were cut off, or it is another log"
            return self._made(ok=False, bad=None, reason=missing, anchored=False)
        reason = self.lost_head
        if self.head is None:
            reason = "it has no head: it is not known whether entries were cut off its end"
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


def _batch_of(line: bytes) -> bytes | None:
    at = line.rfind(b'"batch":"')  # no member's text can hold these bytes, for quotes in it are escaped
    return line[at : line.find(b'"', at + 9)] if at >= 0 else None


def _note_of(line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line).get("note")
    except (ValueError, AttributeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _entries(first: int, last: int) -> str:
    return f"entry {first} is" if first == last else f"entries {first} to {last} are"
