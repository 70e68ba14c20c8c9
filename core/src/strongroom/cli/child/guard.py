"""A process that kills the program if `run` is killed: without `run` the program itself would have been."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import struct
import sys
import time
from collections.abc import Iterable

from strongroom.cli.child.launch import fork

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn, Self

__all__ = ["Guard", "keep_only", "sweep_files"]

_PROGRAM = struct.Struct("=i?")
_OF_THE_JOB = (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP, signal.SIGTSTP)
_MOST_SECONDS, _POLL_SECONDS = 5.0, 0.01
_HIGHEST = 1 << 16


class Guard:
    """A forked process that, while the context is entered, kills the program if this process is killed.

    A process that gets SIGKILL cannot pass it on, so another one has to. The waiting process is in its own
    group, which a kill of the whole job does not reach, and has no descriptors except its pipe.
    """

    def __enter__(self) -> Self:
        reader, self._writer = os.pipe()
        owner = os.getpid()
        # On a busy machine the guard may run only after the program does, and after our group was hung up.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, _OF_THE_JOB)
        try:
            self._process = fork()
            if self._process == 0:
                _wait(reader, owner)
            os.setpgid(self._process, self._process)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.close(reader)
        return self

    def watch(self, pid: int, *, group: bool) -> None:
        """Let it kill the process `pid`, or its whole group."""
        with contextlib.suppress(OSError):  # the guard was killed
            os.write(self._writer, _PROGRAM.pack(pid, group))

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._process, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._process, 0)
        os.close(self._writer)


def _wait(reader: int, owner: int) -> NoReturn:
    try:
        for number in _OF_THE_JOB:
            signal.signal(number, signal.SIG_IGN)
        os.setpgid(0, 0)  # our parent does it too, whichever of both comes first
        keep_only([reader])
        gc.disable()  # a connection of our parent that was collected would close what has its number by now
        received = b""
        while data := os.read(reader, _PROGRAM.size):
            received = data
        if received:
            pid, group = _PROGRAM.unpack(received)
            (os.killpg if group else os.kill)(pid, signal.SIGKILL)
        sweep_files(owner)
    finally:
        # The copy must not do what the original process does at its end.
        os._exit(0)


def sweep_files(owner: int) -> None:
    """Remove the files of the killed process `owner`, our parent, if it had any."""
    files = sys.modules.get("strongroom.cli.child.secret_files")
    if files is not None:
        until = time.monotonic() + _MOST_SECONDS
        while os.getppid() == owner and time.monotonic() < until:
            time.sleep(_POLL_SECONDS)  # its lock is released a moment after its pipe is closed
        files.sweep()


def keep_only(descriptors: Iterable[int]) -> None:
    """Close all descriptors but these."""
    first = 0
    for descriptor in sorted(descriptors):
        os.closerange(first, descriptor)
        first = descriptor + 1
    os.closerange(first, _HIGHEST)
