"""Waits until files are written: by inotify on Linux, elsewhere by looking again and again."""

from __future__ import annotations

import os
import select
import struct
import sys
import threading
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Protocol

__all__ = ["Waiting", "waiting_for"]

_LOOK_SECONDS: Final = 0.04
_GAP_SECONDS: Final = 0.02
"""Writes in quick succession are reported together."""
_EVENT: Final = struct.Struct("iIII")
_MODIFIED: Final = 0x2
_CAME: Final = 0x80 | 0x100  # moved here, created
_OVERFLOW: Final = 0x4000


class Waiting(Protocol):
    """The interface that a thread waits by."""

    def wait(self, seconds: float) -> bool:
        """Wait for at most so long, and return whether the files were written, or `wake` was called."""

    def wake(self) -> None:
        """End the wait of the thread."""

    def close(self) -> None:
        """Close the descriptors; `wake` does nothing from then on."""


def waiting_for(path: Path) -> Waiting:
    """Return a `Waiting` for writes to a store and its log."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # this user gets no more of them; the C library has none
            return _Notices(path)
    return _Ticks()


class _Ticks:
    """Ends a wait again and again, so that the files are looked at."""

    def __init__(self) -> None:
        # Locked until somebody wakes it: waiting for a lock costs less than for an event.
        self._quiet = threading.Lock()
        self._quiet.acquire()

    def wait(self, seconds: float) -> bool:
        return self._quiet.acquire(timeout=min(seconds, _LOOK_SECONDS))

    def wake(self) -> None:
        with suppress(RuntimeError):  # it is free already
            self._quiet.release()

    def close(self) -> None:
        pass


class _Notices:
    """Ends a wait when the kernel reports that a file was written, made or replaced. Source: inotify(7).

    The two files are watched, and their folder for files that come there: what else is written there is not
    heard.

    Args:
        path: The store.

    Raises:
        OSError: The kernel gives no notices of that folder, or no more to this user.
    """

    def __init__(self, path: Path) -> None:
        import ctypes  # here, for it is needed by nobody else

        real = os.path.realpath(path)
        self._libc: Any = ctypes.CDLL(None, use_errno=True)
        self._errno = ctypes.get_errno
        self._using = threading.RLock()  # a signal handler may write in the middle of it
        self._files = [os.fsencode(one) for one in (real, f"{real}-wal")]
        self._names = {os.path.basename(one) for one in self._files}  # noqa: PTH119  # bytes, as the kernel's
        self._descriptors: list[int] = []
        self._end = weakref.finalize(self, _close, self._descriptors)
        self._end.atexit = False  # a thread waits with them until the process has ended
        self._notices = self._opened(self._libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK))
        self._wakes = self._opened(os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK))
        folder = os.path.dirname(self._files[0])  # noqa: PTH120  # as above
        self._folder = self._checked(self._add(folder, _CAME))
        self._follow()
        self._all, self._own = select.poll(), select.poll()
        self._all.register(self._notices, select.POLLIN)
        for poll in (self._all, self._own):
            poll.register(self._wakes, select.POLLIN)
        self._busy = False

    def _opened(self, descriptor: int) -> int:
        self._descriptors.append(self._checked(descriptor))
        return descriptor

    def _checked(self, answer: int) -> int:
        if answer < 0:
            self._end()
            raise OSError(self._errno(), "the kernel gives no notices")
        return answer

    def wait(self, seconds: float) -> bool:
        if self._busy and self._woken(self._own, min(seconds, _GAP_SECONDS)):
            return True
        woken = self._woken(self._all, seconds - _GAP_SECONDS if self._busy else seconds)
        self._busy = self._written()
        return woken or self._busy

    def wake(self) -> None:
        with self._using:
            if self._end.alive:
                os.eventfd_write(self._wakes, 1)

    def close(self) -> None:
        with self._using:
            self._end()

    def _woken(self, poll: select.poll, seconds: float) -> bool:
        if any(found == self._wakes for found, _ in poll.poll(max(seconds, 0) * 1000)):
            os.eventfd_read(self._wakes)
            return True
        return False

    def _written(self) -> bool:
        """Read the events of the kernel, and return whether any is about the two files."""
        try:
            events = os.read(self._notices, 1 << 16)
        except BlockingIOError:
            return False
        written, at = False, 0
        while at < len(events):
            watch, mask, _, length = _EVENT.unpack_from(events, at)
            name = events[at + _EVENT.size : at + _EVENT.size + length].rstrip(b"\0")
            at += _EVENT.size + length
            if watch == self._folder and mask & _CAME:
                if name in self._names:
                    self._follow()
                    written = True
            elif mask & (_MODIFIED | _OVERFLOW):
                written = True
        return written

    def _follow(self) -> None:
        """Watch the files that exist now; one that is watched already stays so."""
        for file in self._files:
            self._add(file, _MODIFIED)

    def _add(self, path: bytes, mask: int) -> int:
        number: int = self._libc.inotify_add_watch(self._notices, path, mask)
        return number


def _close(descriptors: list[int]) -> None:
    while descriptors:
        os.close(descriptors.pop())
