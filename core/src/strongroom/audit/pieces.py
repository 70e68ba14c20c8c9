"""The files of one chain: a log with its head, and the pieces that rotations have left of it."""

from __future__ import annotations

import contextlib
import fcntl
import glob
import os
import re
import stat
import zlib
from collections.abc import Iterator, Sequence
from typing import BinaryIO, Final, NamedTuple

from strongroom.audit.chain import HEAD_BYTES, Chain, Link
from strongroom.errors import AuditError, ConfigurationError

__all__ = ["UNREADABLE", "Piece", "beside", "find_earlier", "open_piece", "open_pieces", "unreadable"]

UNREADABLE: Final = (OSError, EOFError, zlib.error)
"""What reading a piece may raise, packed or not."""

_MAX_LINE: Final = 1 << 20
_NOT_PIECES: Final = re.compile(r"\.(head|key)(\.[^/]*)?\Z")
_DATED: Final = re.compile(r"-[0-9]+(\.gz)?\Z")
"""What logrotate's `dateext` adds."""


class Piece(NamedTuple):
    """One file of a chain, open for reading; None where there is no file."""

    name: str
    file: BinaryIO | None
    size: int

    def lines(self) -> Iterator[bytes]:
        """Yield its lines up to the size that it had, each with its newline but the last."""
        if self.file is None:
            return
        self.file.seek(0)
        left = self.size
        while left > 0:
            line = self.file.readline(min(left, _MAX_LINE))
            if not line:
                return
            left -= len(line)
            # Far too long for a line of ours: it cannot verify.
            yield line if line.endswith(b"\n") or left <= 0 else line + b"\n"


class _Ends(NamedTuple):
    first: Link
    last: Link


def open_piece(path: str) -> BinaryIO:
    """Open a log, unpacked where its name ends with `.gz`.

    Raises:
        ConfigurationError: It is not an ordinary file.
        OSError: It cannot be opened.
    """
    # Looked at before it is opened: opening a pipe would wait for a writer.
    if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116  # paths are text here
        raise ConfigurationError(f"{path} is not an ordinary file, and cannot be an audit log")
    return _unpacked(path) if path.endswith(".gz") else open(path, "rb")  # noqa: PTH123  # the caller closes it


def _unpacked(path: str) -> BinaryIO:
    import gzip  # only where there is a piece to unpack

    return gzip.open(path, "rb")  # type: ignore[return-value]  # it has the methods used here


def open_pieces(
    path: str, earlier: Sequence[str], stack: contextlib.ExitStack
) -> tuple[list[Piece], bytes | None]:
    """Open a log and its head as they are between two writers, and the pieces before it.

    Args:
        path: The log.
        earlier: The pieces, the oldest first.
        stack: What closes them all.

    Raises:
        AuditError: One of them cannot be read.
        ConfigurationError: One of them is not an ordinary file.
    """
    name = path
    try:
        record, last = _snapshot(path, stack)
        pieces = []
        for name in earlier:
            file = stack.enter_context(open_piece(name))
            pieces.append(Piece(name, file, _size(name, file)))
    except UNREADABLE as error:
        raise unreadable(name, error) from error
    return [*pieces, last], record


def find_earlier(
    pieces: Sequence[Piece],
    record: bytes | None,
    chain: Chain,
    least: int,
    stack: contextlib.ExitStack,
) -> list[Piece]:
    """Return pieces beside a log that hold what was written before the first of `pieces`, the oldest first.

    A piece is chosen if it ends where the next one begins. If none does, it is the one that begins last.
    """
    path = pieces[-1].name
    needed, before = _beginning(pieces, record, chain)
    if needed <= least:
        return []
    known = {os.path.realpath(piece.name) for piece in pieces}
    candidates = []
    for name in beside(path):
        piece = _readable(name, stack) if os.path.realpath(name) not in known else None
        ends = _ends_of(piece, chain) if piece is not None else None
        if piece is not None and ends is not None:
            candidates.append((ends, piece))
    chosen: list[Piece] = []
    while needed > least:
        fitting = [one for one in candidates if one[0].first.seq < needed]
        if not fitting:
            break
        exact = [one for one in fitting if (one[0].last.seq, one[0].last.mac) == (needed - 1, before)]
        ends, piece = max(exact or fitting, key=lambda one: (one[0].first.seq, one[0].last.seq))
        chosen.insert(0, piece)
        needed, before = ends.first.seq, ends.first.prev
    return chosen


def beside(path: str) -> list[str]:
    """Return the files whose names say that they may be pieces of the log at `path`."""
    begin = glob.escape(path)
    named = [name for name in glob.glob(f"{begin}.*") if not _NOT_PIECES.fullmatch(name[len(path) :])]  # noqa: PTH207  # stays text
    dated = [name for name in glob.glob(f"{begin}-*") if _DATED.fullmatch(name[len(path) :])]  # noqa: PTH207  # as above
    return sorted(name for name in (*named, *dated) if os.path.isfile(name))  # noqa: PTH113  # as above


def _snapshot(path: str, stack: contextlib.ExitStack) -> tuple[bytes | None, Piece]:
    record = None
    with contextlib.ExitStack() as locked:
        with contextlib.suppress(FileNotFoundError):
            head = os.open(f"{path}.head", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            locked.callback(os.close, head)
            fcntl.flock(head, fcntl.LOCK_SH)
            # A child that was forked meanwhile has a copy of the descriptor, which would hold the lock.
            locked.callback(fcntl.flock, head, fcntl.LOCK_UN)
            record = os.pread(head, HEAD_BYTES, 0)
        try:
            file = stack.enter_context(open_piece(path))
        except FileNotFoundError:
            if record is None:
                raise
            return record, Piece(path, None, 0)
        return record, Piece(path, file, _size(path, file))


def _size(name: str, file: BinaryIO) -> int:
    # The unpacked size is known only at the end; nobody writes to a packed piece any more.
    return 1 << 62 if name.endswith(".gz") else os.fstat(file.fileno()).st_size


def _readable(name: str, stack: contextlib.ExitStack) -> Piece | None:
    """Open what may be a piece; None if it cannot be read, since it may be another kind of file."""
    try:
        file = stack.enter_context(open_piece(name))
    except (OSError, ConfigurationError):
        return None
    return Piece(name, file, _size(name, file))


def _ends_of(piece: Piece, chain: Chain) -> _Ends | None:
    """Return the first and the last line that was written under the key; None where none was."""
    first = last = None
    with contextlib.suppress(*UNREADABLE):
        for line in piece.lines():
            link = chain.link(line.rstrip(b"\n"))
            first = first or link
            last = link or last
    return None if first is None or last is None else _Ends(first, last)


def _beginning(pieces: Sequence[Piece], record: bytes | None, chain: Chain) -> tuple[int, str]:
    """Return the number of the first entry that there is, and the MAC before it."""
    for piece in pieces:
        for line in piece.lines():
            link = chain.link(line.rstrip(b"\n"))
            if link is not None:
                return link.seq, link.prev
    head = chain.unpack(record) if record else None
    return (1, "") if head is None else (head.seq + 1, head.mac)


def unreadable(path: str, error: BaseException) -> AuditError:
    """Return our error for a log that cannot be read."""
    reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else type(error).__name__
    return AuditError(f"the audit log {path} cannot be read: {reason}")
