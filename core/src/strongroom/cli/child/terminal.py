"""A terminal of the child's own between it and ours, so that what it prints there can be masked."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import termios
import tty
from typing import Any, Self

__all__ = ["Terminal", "in_foreground", "is_controlled"]

_INPUT_CHUNK = 1 << 12


def in_foreground(descriptor: int) -> bool:
    """Tell whether `descriptor` is a terminal whose foreground process group is ours."""
    try:
        return os.isatty(descriptor) and os.tcgetpgrp(descriptor) == os.getpgrp()
    except OSError:
        return False


def is_controlled() -> bool:
    """Tell whether this process belongs to the session of a terminal."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


class Terminal:
    """A pseudo-terminal that looks like ours.

    While it is entered, our terminal is raw: every key, also Ctrl-C, goes to the child's terminal,
    whose own line discipline makes signals of it.
    """

    def __init__(self, ours: int) -> None:
        self.ours = ours
        self.master, self.slave = os.openpty()
        os.set_blocking(self.master, False)
        self.reads_input = False
        self._before: list[Any] | None = None
        self._input = b""
        with contextlib.suppress(termios.error):
            termios.tcsetattr(self.slave, termios.TCSANOW, termios.tcgetattr(ours))
        self.resize()

    def __enter__(self) -> Self:
        self.attach()
        return self

    def __exit__(self, *_: object) -> None:
        self.detach()

    def attach(self) -> None:
        """Take the keys of our terminal, where we are in its foreground."""
        self.reads_input = in_foreground(0)
        if self.reads_input and self._before is None:
            with contextlib.suppress(termios.error):
                self._before = termios.tcgetattr(0)
                tty.setraw(0, termios.TCSADRAIN)

    def detach(self) -> None:
        """Give our terminal back as it was; in the background it is not ours to change."""
        before, self._before = self._before, None
        if before is not None and in_foreground(0):
            with contextlib.suppress(termios.error):  # the terminal itself may be gone
                termios.tcsetattr(0, termios.TCSADRAIN, before)

    def make_controlling(self) -> None:
        """Make it the controlling terminal of this process, which leads a session without one."""
        fcntl.ioctl(self.slave, termios.TIOCSCTTY, 0)

    def take_foreground(self) -> None:
        """Bring this process's group to its foreground."""
        # From the background that is asked for by a signal that would stop us.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
        os.tcsetpgrp(self.slave, os.getpgrp())
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def resize(self) -> None:
        """Take over the size of our terminal; the kernel tells the child's programs."""
        with contextlib.suppress(termios.error):
            termios.tcsetwinsize(self.master, termios.tcgetwinsize(self.ours))

    def forward_input(self) -> None:
        """Pass on what was typed; at its end nothing is read any more."""
        try:
            data = os.read(0, _INPUT_CHUNK)
        except OSError:
            data = b""
        if not data:
            self.reads_input = False
            return
        # What does not fit waits, so that a child which does not read cannot hold up its own output.
        self._input += data
        self.flush_input()

    @property
    def has_input(self) -> bool:
        """Whether typed characters wait for the child."""
        return bool(self._input)

    def flush_input(self) -> None:
        """Write as much of the waiting input as the terminal takes."""
        with contextlib.suppress(OSError):  # full, or gone
            self._input = self._input[os.write(self.master, self._input) :]
