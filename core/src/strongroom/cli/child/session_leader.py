"""A process between us and a program on a terminal of its own, so that Ctrl-Z works there.

Whoever leads a session has no parent in it that could continue it, and the kernel therefore ignores
Ctrl-Z for it. So a forked copy of this process leads the session and starts the program in a process
group of its own, as a shell would, and reports what becomes of it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import struct
import subprocess
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from strongroom.cli.child.launch import start
from strongroom.cli.child.signals import PASSED_ON
from strongroom.cli.child.terminal import Terminal

__all__ = ["ENDED", "FAILED", "STARTED", "STOPPED", "Monitor"]

STARTED, STOPPED, ENDED, FAILED = range(4)
"""Kinds of reports; with each comes a number: process id, signal, wait status, error number."""
_REPORT = struct.Struct("=ii")


class Monitor:
    """Starts `command` on `terminal`; `reports` tells what became of it since the last call.

    Args:
        command: The program and its arguments.
        environment: Its variables.
        terminal: Its side of this is closed for us afterwards.
        streams: As `Popen` takes them.
        foreign: Descriptors of ours that the copy must not keep open.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        terminal: Terminal,
        streams: Mapping[str, Any],
        foreign: Sequence[int],
    ) -> None:
        self.reader, writer = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            for descriptor in (self.reader, *foreign):
                os.close(descriptor)
            _lead(command, environment, terminal, streams, writer)
        os.close(writer)
        os.set_blocking(self.reader, False)

    def reports(self) -> list[tuple[int, int]]:
        """Return the kinds and numbers of what was reported; each is written in one piece."""
        with contextlib.suppress(BlockingIOError):
            data = os.read(self.reader, 64 * _REPORT.size)
            return list(_REPORT.iter_unpack(data))
        return []

    def close(self) -> None:
        """Listen no longer."""
        os.close(self.reader)


def _lead(
    command: Sequence[str],
    environment: Mapping[str, str],
    terminal: Terminal,
    streams: Mapping[str, Any],
    writer: int,
) -> NoReturn:
    try:
        signal.set_wakeup_fd(-1)
        for number in (*PASSED_ON, signal.SIGCHLD, signal.SIGTSTP, signal.SIGCONT, signal.SIGWINCH):
            if callable(signal.getsignal(number)):
                signal.signal(number, signal.SIG_DFL)
        os.setsid()
        terminal.make_controlling()
        process = start(command, environment, streams=streams, group=0, prepare=terminal.take_foreground)
        # The slave stays open: without it, our going away could be told before the child's end is.
        for stream in {streams["stdout"], streams["stderr"]} - {terminal.slave}:
            os.close(stream)
        _watch(process, lambda kind, number: os.write(writer, _REPORT.pack(kind, number)))
    except OSError as error:
        os.write(writer, _REPORT.pack(FAILED, error.errno or 0))
    finally:
        # Nothing of what this process would do at its end is the copy's to do.
        os._exit(0)


def _watch(process: subprocess.Popen[bytes], report: Callable[[int, int], object]) -> None:
    report(STARTED, process.pid)
    while True:
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            report(ENDED, status)
            return
        report(STOPPED, os.WSTOPSIG(status))
