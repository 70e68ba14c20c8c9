"""One output stream of a child, masked on its way to one of ours."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import signal
import sys
import time

from strongroom.cli.child.guard import keep_only
from strongroom.masking.limits import HELD_SECONDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from strongroom.masking import Masker, MaskingStream

__all__ = ["Relay", "leave_behind", "same_file", "write_all"]

_CHUNK = 1 << 20
_PIPE_BYTES = 1 << 20  # for fewer, larger reads
_LARGEST = 1 << 24
_TERMINAL_BYTES = 1 << 16
"""More than any terminal holds: Linux takes 18 KB, of which it counts the first 4 KiB."""
_GONE = frozenset({errno.EPIPE, errno.EIO, errno.EBADF})


class Relay:
    """Reads what a child writes to `source` and writes it, masked, to the descriptor `target`.

    `masker` is called when there is something to mask.
    """

    def __init__(self, source: int, target: int, masker: Callable[[], Masker]) -> None:
        self.source = source
        self.target = target
        self.open = True
        self.broken: OSError | None = None
        """Why a write has failed."""
        with contextlib.suppress(OSError, AttributeError):  # a terminal has no such size, nor has macOS
            fcntl.fcntl(source, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        self._masker = masker
        self._made: MaskingStream | None = None
        self._is_outdated = False
        self._release_at: float | None = None

    @property
    def failure(self) -> int | None:
        """The error number of a failed write, unless the reader is gone: the child notices that by itself."""
        return None if self.broken is None or self.broken.errno in _GONE else self.broken.errno

    @property
    def _stream(self) -> MaskingStream:
        if self._made is None:
            # glibc returns blocks to the kernel that are larger than any block freed before. After this one,
            # our buffers are reused, and not made of new pages each time, which took an eighth of the time.
            bytes(_LARGEST)
            self._made = self._masker().stream()
        elif self._is_outdated:
            self._made.use(self._masker())
        self._is_outdated = False
        return self._made

    def prepare(self) -> None:
        """Make the masker before there is something to mask, so that the first line does not wait for it."""
        if self.open and self._made is None:
            self._masker()

    def change_masker(self) -> None:
        """Ask for the masker again before more is masked; a tail that may become a value stays held."""
        self._is_outdated = True

    def forward(self) -> int:
        """Pass on what can be read now; return how many bytes it was."""
        try:
            data = os.read(self.source, _CHUNK)
        except BlockingIOError:
            return 0
        except OSError:  # EIO: the last program on the terminal's other side has closed it
            data = b""
        if not data:
            self.close()
            return 0
        came_at = time.monotonic()  # making the masker takes as long as a held line may wait
        self._write(self._stream.feed(data))
        self._schedule(len(data), came_at)
        return len(data)

    def wait_seconds(self) -> float | None:
        """Return after how many seconds this stream needs attention; None for never."""
        return None if self._release_at is None else max(0.0, self._release_at - time.monotonic())

    def release_due(self) -> None:
        """Write an undecided tail that was held back long enough."""
        if self._release_at is not None and time.monotonic() >= self._release_at:
            self.release()

    def release(self) -> None:
        """Write an undecided tail, since the program will write nothing for now."""
        if self._release_at is not None:
            self._release_at = None
            self._write(self._stream.release())

    def drain(self) -> None:
        """Pass on everything written so far; close at the end, if no process is left that could write.

        On a terminal nothing is missed: if there is nothing to read, Linux first waits for output on its way.
        """
        if self.open:
            import termios  # of a short program the end was read by now

            os.set_blocking(self.source, False)
            # One more read, to see the end; but a program that goes on printing must not hold us up.
            owed = int.from_bytes(fcntl.ioctl(self.source, termios.FIONREAD, bytes(4)), sys.byteorder)
            if os.isatty(self.source):
                owed = max(owed, _TERMINAL_BYTES)
            while self.open and owed >= 0 and (came := self.forward()):
                owed -= came

    def close(self) -> None:
        """Write the rest and close the source."""
        if self.open and self._made is not None:
            self._write(self._made.finish())
        self._shut()

    def abandon(self) -> None:
        """Leave the source to the process that was left behind."""
        self._shut()

    def _shut(self) -> None:
        if self.open:
            self.open = False
            self._release_at = None
            os.close(self.source)

    def _schedule(self, new: int, came_at: float) -> None:
        if not self._stream.holds:
            self._release_at = None
        elif self._release_at is None or self._stream.pending <= new:
            self._release_at = came_at + HELD_SECONDS

    def _write(self, data: bytes) -> None:
        try:
            write_all(self.target, data)
        except OSError as error:
            # When its pipe is closed, the child notices as it would without us.
            self.broken = error
            self._shut()


def leave_behind(relays: Sequence[Relay]) -> None:
    """Start a process that passes on, masked, the output of programs that outlive the child.

    Otherwise their next line would end them; without `run` they would just go on.
    """
    if os.fork():
        return
    try:
        os.setsid()  # keys and signals to the job are not meant for it
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        keep_only(descriptor for relay in relays for descriptor in (relay.source, relay.target))
        while left := [relay for relay in relays if relay.open]:
            waits = [seconds for relay in left if (seconds := relay.wait_seconds()) is not None]
            ready, _, _ = select.select([relay.source for relay in left], [], [], min(waits, default=None))
            for relay in left:
                if relay.source in ready:
                    relay.forward()
                if relay.open:
                    relay.release_due()
    finally:
        # The copy must not do what the original process does at its end.
        os._exit(0)


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of `data`, even if the descriptor does not block."""
    left = memoryview(data)
    while left:
        with contextlib.suppress(BlockingIOError):
            left = left[os.write(descriptor, left) :]
            continue
        select.select([], [descriptor], [])


def same_file(one: int, other: int) -> bool:
    """Return whether the two descriptors lead to the same file, pipe or terminal."""
    try:
        first, second = os.fstat(one), os.fstat(other)
    except OSError:
        return False
    return (first.st_dev, first.st_ino) == (second.st_dev, second.st_ino)
