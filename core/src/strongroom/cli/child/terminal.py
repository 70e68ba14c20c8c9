"""A terminal for the child, between it and ours, so that its output can be masked."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import termios
import tty
from typing import Any, Self

from strongroom.cli.standard_streams import controlling_terminal

__all__ = ["Terminal", "in_foreground"]

_INPUT_CHUNK = 1 << 12


def in_foreground(descriptor: int) -> bool:
    """Return whether `descriptor` is a terminal whose foreground process group is ours."""
    try:
        return os.isatty(descriptor) and os.tcgetpgrp(descriptor) == os.getpgrp()
    except OSError:
        return False


class Terminal:
    """A pseudo-terminal that looks like ours.

    While its keys are taken, our terminal is raw: every key, even Ctrl-C, goes to the child's terminal, whose
    line discipline makes signals of it. The keys are those of standard input; if that is not a terminal, as
    in `cat list | run -- less`, those of the terminal that controls us, but only once the child asks for
    them, since another program of the job may read them.
    """

    def __init__(self, ours: int) -> None:
        self.ours = ours
        self.wanted = os.isatty(0)
        """Whether the child gets the keys as soon as we are in the foreground."""
        self.keys = 0 if self.wanted else controlling_terminal()
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
        if self.keys > 0:
            os.close(self.keys)

    def attach(self) -> bool:
        """Take the keys of our terminal if they are wanted and we are in its foreground; return whether."""
        self.resize()  # it may have another size by now
        self.reads_input = self.wanted and in_foreground(self.keys)
        if self.reads_input and self._before is None:
            with contextlib.suppress(termios.error):
                self._before = termios.tcgetattr(self.keys)
                tty.setraw(self.keys, termios.TCSADRAIN)
        return self.reads_input

    def detach(self) -> None:
        """Give our terminal back as it was; in the background it is not ours to change."""
        before, self._before = self._before, None
        self.reads_input = False
        if before is not None and in_foreground(self.keys):
            with contextlib.suppress(termios.error):  # the terminal itself may be gone
                termios.tcsetattr(self.keys, termios.TCSADRAIN, before)

    def make_controlling(self) -> None:
        """Make it the controlling terminal of this process, which leads a session without one."""
        fcntl.ioctl(self.slave, termios.TIOCSCTTY, 0)

    def set_foreground(self, group: int) -> None:
        """Bring a process group of its session to its foreground."""
        # In the background, this call causes a signal that would stop us.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
        with contextlib.suppress(OSError):  # the group is gone
            os.tcsetpgrp(self.slave, group)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def resize(self) -> None:
        """Take over the size of our terminal; the kernel tells the child's programs."""
        with contextlib.suppress(termios.error):
            termios.tcsetwinsize(self.master, termios.tcgetwinsize(self.ours))

    def forward_input(self) -> bytes:
        """Pass on what was typed, and return it; at the end of the input, stop reading."""
        try:
            data = os.read(self.keys, _INPUT_CHUNK)
        except OSError:
            data = b""
        if not data:
            self.reads_input = False
            return b""
        # What does not fit waits, so that a child that does not read cannot block its own output.
        self._input += data
        self.flush_input()
        return data

    def signal_of(self, data: bytes) -> int | None:
        """Return the signal that the child's terminal makes of the typed `data`, if any."""
        try:
            *_, local, _, _, characters = termios.tcgetattr(self.master)
        except termios.error:
            return None
        keys = {signal.SIGINT: characters[termios.VINTR], signal.SIGQUIT: characters[termios.VQUIT]}
        found = [number for number, key in keys.items() if key != b"\0" and key in data]
        return found[0] if found and local & termios.ISIG else None

    @property
    def reads_lines(self) -> bool:
        """Whether the child's terminal collects lines, so that no program reads single keys."""
        try:
            return bool(termios.tcgetattr(self.master)[3] & termios.ICANON)
        except termios.error:
            return False

    @property
    def foreground(self) -> int | None:
        """The process group in the foreground of the child's terminal."""
        try:
            return os.tcgetpgrp(self.master)
        except OSError:
            return None

    @property
    def has_input(self) -> bool:
        """Whether typed characters wait for the child."""
        return bool(self._input)

    def flush_input(self) -> None:
        """Write as much of the waiting input as the terminal takes."""
        with contextlib.suppress(OSError):  # full, or gone
            self._input = self._input[os.write(self.master, self._input) :]
