"""One stream of a child on its way to one of ours, masked."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import signal
import sys
import termios
import time
from typing import TYPE_CHECKING

from strongroom.cli.child.guard import keep_only
from strongroom.masking.limits import HELD_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from strongroom.masking import Masker, MaskingStream

__all__ = ["Relay", "leave_behind", "same_file", "write_all"]

_CHUNK = 1 << 20
_PIPE_BYTES = 1 << 20  # fewer, larger pieces
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
        self.failure: int | None = None
        """The error number of what could not be written, though there is somebody to read it."""
        with contextlib.suppress(OSError, AttributeError):  # a terminal has no such size, nor has macOS
            fcntl.fcntl(source, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        self._masker = masker
        self._made: MaskingStream | None = None
        self._release_at: float | None = None

    @property
    def _stream(self) -> MaskingStream:
        if self._made is None:
            # glibc hands what is larger than the largest piece ever freed back to the kernel, and each of our
            # buffers would be made of new pages again: that took an eighth of the time.
            bytes(_LARGEST)
            self._made = self._masker().stream()
        return self._made

    def prepare(self) -> None:
        """Make the masker before there is something to mask, so that the first line need not wait for it."""
        if self.open:
            self._masker()

    def change_masker(self) -> None:
        """Ask for the masker again before more is masked."""
        if self._made is not None:
            self._write(self._made.finish())
            self._made, self._release_at = None, None

    def forward(self) -> int:
        """Pass on what there is; return how many bytes came."""
        try:
            data = os.read(self.source, _CHUNK)
        except BlockingIOError:
            return 0
        except OSError:  # EIO: the last program on the terminal's other side has closed it
            data = b""
        if not data:
            self.close()
            return 0
        self._write(self._stream.feed(data))
        self._schedule(len(data))
        return len(data)

    def wait_seconds(self) -> float | None:
        """Return how long nothing has to be done for this stream; None is for ever."""
        return None if self._release_at is None else max(0.0, self._release_at - time.monotonic())

    def release_due(self) -> None:
        """Give out an undecided tail that was held long enough."""
        if self._release_at is not None and time.monotonic() >= self._release_at:
            self.release()

    def release(self) -> None:
        """Give out an undecided tail, since the program will write nothing for now."""
        if self._release_at is not None:
            self._release_at = None
            self._write(self._stream.release())

    def drain(self) -> None:
        """Pass on all that was written by now; at its end, where nobody is left who could write, close.

        A terminal has it ready: Linux, where nothing is there to read, first waits for what is on its way.
        """
        if self.open:
            os.set_blocking(self.source, False)
            # Once more than that, for the end; a program that goes on printing does not keep us.
            owed = int.from_bytes(fcntl.ioctl(self.source, termios.FIONREAD, bytes(4)), sys.byteorder)
            if os.isatty(self.source):
                owed = max(owed, _TERMINAL_BYTES)
            while self.open and owed >= 0 and (came := self.forward()):
                owed -= came

    def close(self) -> None:
        """Give out the rest and close the source."""
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

    def _schedule(self, new: int) -> None:
        if not self._stream.holds:
            self._release_at = None
        elif self._release_at is None or self._stream.pending <= new:
            self._release_at = time.monotonic() + HELD_SECONDS

    def _write(self, data: bytes) -> None:
        try:
            write_all(self.target, data)
        except OSError as error:
            # With its own end closed the child learns of it as it always would.
            self.failure = None if error.errno in _GONE else error.errno
            self._shut()


def leave_behind(relays: Sequence[Relay]) -> None:
    """Let a process of its own pass on, masked, what programs print that outlive the child.

    They would otherwise be ended by their next line; without `run` they would just go on.
    """
    if os.fork():
        return
    try:
        os.setsid()  # what is typed, or sent to the job, is not meant for it
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
        # Nothing of what this process would do at its end is the copy's to do.
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
    """Return whether what is written to the two descriptors goes to one place."""
    try:
        first, second = os.fstat(one), os.fstat(other)
    except OSError:
        return False
    return (first.st_dev, first.st_ino) == (second.st_dev, second.st_ino)
