"""A process between us and a program on a terminal of its own, so that Ctrl-Z works there.

Whoever leads a session has no parent in it that could continue it, and the kernel therefore ignores
Ctrl-Z for it. So a forked copy of this process leads the session and starts the program in a process
group of its own, as a shell would, and reports what becomes of it. It brings the program to the foreground
of its terminal, or to the background, where reading stops it and so tells that it wants the keys. And it
ends the program where we were killed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from strongroom.cli.child.guard import keep_only, sweep_files
from strongroom.cli.child.launch import start
from strongroom.cli.child.signals import PASSED_ON
from strongroom.cli.child.terminal import Terminal

__all__ = ["ENDED", "FAILED", "STARTED", "STOPPED", "Monitor"]

STARTED, STOPPED, ENDED, FAILED = range(4)
"""Kinds of reports; with each comes a number: process id, signal, wait status, error number."""
_FOREGROUND, _BACKGROUND = signal.SIGUSR1, signal.SIGUSR2
_REPORT = struct.Struct("=ii")


class Monitor:
    """Starts `command` on `terminal`; `reports` tells what became of it since the last call.

    Args:
        command: The program and its arguments.
        in_foreground: Whether it begins in the foreground of `terminal`.
        prepare: What the program's process has to do besides.
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
        in_foreground: bool,
        prepare: Callable[[], object] | None,
    ) -> None:
        self.reader, writer = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            for descriptor in (self.reader, *foreign):
                os.close(descriptor)
            _Leader(command, environment, terminal, streams, writer).lead(
                prepare, in_foreground=in_foreground
            )
        os.close(writer)
        os.set_blocking(self.reader, False)
        self._listens = True

    def reports(self) -> list[tuple[int, int]]:
        """Return the kinds and numbers of what was reported; each is written in one piece."""
        with contextlib.suppress(BlockingIOError):
            data = os.read(self.reader, 64 * _REPORT.size)
            return list(_REPORT.iter_unpack(data))
        return []

    def resume(self, *, in_foreground: bool) -> None:
        """Let the program go on, in the foreground of its terminal or in the background."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, _FOREGROUND if in_foreground else _BACKGROUND)

    def let_go(self) -> None:
        """Wait until it has left the terminal to those who outlive the program, after the program's end."""
        os.set_blocking(self.reader, True)
        while os.read(self.reader, _REPORT.size):
            pass

    def close(self, *, end: bool) -> None:
        """Listen no longer, and end it."""
        if self._listens:
            self._listens = False
            os.close(self.reader)
        if end:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self.pid, 0)


class _Leader:
    """What the copy does."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        terminal: Terminal,
        streams: Mapping[str, Any],
        writer: int,
    ) -> None:
        self.command, self.environment = command, environment
        self.terminal, self.streams, self.writer = terminal, streams, writer
        self.program = 0
        self.owner = os.getppid()

    def lead(self, prepare: Callable[[], object] | None, *, in_foreground: bool) -> NoReturn:
        """Start the program and report what becomes of it."""
        try:
            signal.set_wakeup_fd(-1)
            for number in (*PASSED_ON, signal.SIGCHLD, signal.SIGTSTP, signal.SIGCONT, signal.SIGWINCH):
                if callable(signal.getsignal(number)):
                    signal.signal(number, signal.SIG_DFL)
            os.setsid()
            self.terminal.make_controlling()
            signal.signal(signal.SIGHUP, self._abandoned)
            signal.signal(_FOREGROUND, lambda *_: self._resume(self.program))
            signal.signal(_BACKGROUND, lambda *_: self._resume(os.getpgrp()))

            def begin() -> None:
                if in_foreground:
                    self.terminal.set_foreground(os.getpgrp())
                if prepare is not None:
                    prepare()

            process = start(self.command, self.environment, streams=self.streams, group=0, prepare=begin)
            self.program = process.pid
            # The slave stays open: without it, our going away could be told before the child's end is.
            for stream in {self.streams["stdout"], self.streams["stderr"]} - {self.terminal.slave, None}:
                os.close(stream)
            self._watch()
        except OSError as error:
            self._report(FAILED, error.errno or 0)
        finally:
            # Nothing of what this process would do at its end is the copy's to do.
            os._exit(0)

    def _watch(self) -> None:
        self._report(STARTED, self.program)
        while True:
            _, status = os.waitpid(self.program, os.WUNTRACED)
            if not os.WIFSTOPPED(status):
                break
            self._report(STOPPED, os.WSTOPSIG(status))
        self.program = 0
        self._report(ENDED, status)
        # Whoever outlives the program has the terminal as long as its session has a leader.
        os.close(self.terminal.slave)
        keep_only([])
        while True:
            signal.pause()

    def _report(self, kind: int, number: int) -> None:
        os.write(self.writer, _REPORT.pack(kind, number))

    def _resume(self, foreground: int) -> None:
        if self.program:
            self.terminal.set_foreground(foreground)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.program, signal.SIGCONT)

    def _abandoned(self, *_: object) -> None:
        """Act on the end of the terminal's other side, which we have as long as we live."""
        if self.program:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.program, signal.SIGKILL)
            keep_only([])
            sweep_files(self.owner)
        os._exit(0)
