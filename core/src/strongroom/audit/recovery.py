"""Finding the end of a log after a start, a crash, a rotation, or a change by somebody else.

Nothing found here stops the writing: what was tampered with stays visible, because the chain goes on from
the end that the head knows.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime

from strongroom.audit.chain import GENESIS, Chain, Head
from strongroom.audit.serialization import NOTE, process_identity, serialize_note
from strongroom.errors import AuditError
from strongroom.hooks import SecretEvent
from strongroom.hooks.identity import actor
from strongroom.runtime import digests
from strongroom.runtime.frozen import replaced
from strongroom.runtime.logs import logger

__all__ = ["RecoveredEnd", "find_end"]

_log = logger("strongroom.hooks")
_BLOCK = 1 << 16
_MAX_LINE = 1 << 20
_SHOWN_BYTES = 4096


class RecoveredEnd:
    """The end of the chain, with the present size of the file, and notes to add to the log."""

    __slots__ = ("end", "notes")

    def __init__(self, end: Head, notes: list[str] | None = None) -> None:
        self.end = end
        self.notes = [] if notes is None else notes


def find_end(descriptor: int, record: bytes, chain: Chain, path: str, *, is_new: bool) -> RecoveredEnd:
    """Return where the chain goes on; a line that a crash cut short is taken off the file and noted.

    Args:
        descriptor: The log, open for reading and writing.
        record: The bytes of its head file.
        chain: The chain of the log's key.
        path: The log's name, for messages.
        is_new: Whether the file has just been made; it may have the inode of one that was removed.

    Raises:
        AuditError: The log has lines, and none of them was written under this key.
    """
    status = os.fstat(descriptor)
    size = status.st_size
    file = _identity(status)
    head = chain.unpack(record)
    if head is None:
        return _without_head(descriptor, size, file, chain, path, missing=not record)
    if size == 0 and head.size and (is_new or file != head.file):
        # A new file instead of the one that was renamed: the chain goes on in it.
        return RecoveredEnd(Head(head.seq, head.mac, 0, head.seq + 1, head.mac, file))
    head = replaced(head, file=file)
    recovered = RecoveredEnd(replaced(head, size=size))
    if size < head.size:
        _log.error(
            "the audit log %s was cut: entries are missing before number %d; run `strongroom audit verify`",
            path,
            head.seq + 1,
        )
    else:
        recovered.end = _last(descriptor, head.size, size, chain, head)
    return _closed(descriptor, recovered)


def _identity(status: os.stat_result) -> str:
    return f"{status.st_dev}:{status.st_ino}"


def _without_head(
    descriptor: int, size: int, file: str, chain: Chain, path: str, *, missing: bool
) -> RecoveredEnd:
    begin = Head(0, GENESIS, 0, 1, GENESIS, file)
    if size == 0 and missing:
        return RecoveredEnd(begin)
    end = begin
    for line in _lines(descriptor, 0, size):
        link = chain.link(line)
        if link is not None and link.seq > end.seq:
            first, prev = (link.seq, link.prev) if end.seq == 0 else (end.first, end.prev)
            end = Head(link.seq, link.mac, size, first, prev, file)
    if size and end.seq == 0:
        raise AuditError(
            f"no line of {path} was written under this audit key",
            hint="give the key it was written under, or move the log, its .head and its .key away",
        )
    why = "missing" if missing else "changed"
    _log.error("the head of the audit log %s is %s; run `strongroom audit verify`", path, why)
    return _closed(descriptor, RecoveredEnd(end, [_note({"what": "head", "why": why})]))


def _last(descriptor: int, start: int, size: int, chain: Chain, head: Head) -> Head:
    """Return the end with the lines behind `start`, whose writer died before it updated the head."""
    end = replaced(head, size=size)
    for line in _lines(descriptor, start, size):
        link = chain.link(line)
        if link is not None and link.seq > end.seq:
            end = replaced(end, seq=link.seq, mac=link.mac)
    return end


def _closed(descriptor: int, recovered: RecoveredEnd) -> RecoveredEnd:
    """Take a line that was cut short off the end, and note what it held."""
    size = recovered.end.size
    whole = _end_of_last_line(descriptor, size)
    if whole == size:
        return recovered
    piece = os.pread(descriptor, min(size - whole, _MAX_LINE), whole)
    note = {"what": "cut short", "bytes": size - whole, "sha256": digests.sha256(piece).hexdigest()}
    has_text = False
    try:
        os.ftruncate(descriptor, whole)
        size = whole
    except PermissionError:  # an append-only file: the piece stays, on a line of its own
        os.write(descriptor, b"\n")
        size += 1
        has_text = True
    recovered.end = replaced(recovered.end, size=size)
    if has_text or piece.strip(b" "):  # blanks alone: an older version tested the disk by them
        note |= {"kept": has_text, "text": piece[:_SHOWN_BYTES].decode("ascii", "backslashreplace")}
        recovered.notes.append(_note(note))
    return recovered


def _end_of_last_line(descriptor: int, size: int) -> int:
    at = size
    while at > 0:
        start = max(0, at - _BLOCK)
        newline = os.pread(descriptor, at - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        at = start
    return 0


def _lines(descriptor: int, start: int, size: int) -> Iterator[bytes]:
    """Yield the whole lines between two places, without their newlines."""
    rest = b""
    while start < size:
        block = os.pread(descriptor, min(_BLOCK, size - start), start)
        if not block:
            return
        start += len(block)
        *whole, rest = (rest + block).split(b"\n")
        yield from whole
        if len(rest) > _MAX_LINE:  # no line of ours
            rest = b""


def _note(note: dict[str, object]) -> str:
    event = SecretEvent(
        id=os.urandom(16).hex(),
        operation=NOTE,
        key="",
        pipeline=None,
        tenant=None,
        actor=actor(),
        started_at=datetime.now(UTC),
    )
    return serialize_note(event, process_identity(), note)
