"""A process between us and a program on its own terminal, so that Ctrl-Z works there.

The leader of a session has no parent in the session that could continue it, so the kernel ignores Ctrl-Z for
it. Therefore a forked copy of this process leads the session, starts the program in its own process group, as
a shell would, and reports on it. It brings the program to the foreground of its terminal, or to the
background: there a read stops the program, which shows that it wants the keys. And it ends the program if we
are killed.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from strongroom.cli.child.guard import keep_only, sweep_files
from strongroom.cli.child.launch import start
from strongroom.cli.child.signals import PASSED_ON, Wakeup
from strongroom.cli.child.terminal import Terminal
from strongroom.runtime.frozen import NamedTuple

__all__ = ["ENDED", "FAILED", "STARTED", "STOPPED", "Program", "SessionLeader"]

STARTED, STOPPED, ENDED, FAILED = range(4)
"""Kinds of reports; each comes with a number: process id, signal, wait status, error number."""
_FOREGROUND, _BACKGROUND = signal.SIGUSR1, signal.SIGUSR2
_REPORT = struct.Struct("=ii")


class Program(NamedTuple):
    """The program to start on its own terminal."""

    command: Sequence[str]
    environment: Mapping[str, str]
    terminal: Terminal
    """Its terminal; we close the program's side after the start."""
    streams: Mapping[str, Any]
    """As `Popen` takes them."""
    in_foreground: bool
    """Whether it begins in the foreground of `terminal`."""
    prepare: Callable[[], object] | None
    """Called in its process before the program."""

    def __repr__(self) -> str:
        return "<Program>"  # no argument, and no variable: they may hold values


class SessionLeader:
    """Starts `program`; `reports` returns what has happened to it since the last call.

    Args:
        program: The program.
        foreign: Descriptors of ours that the copy must close.
    """

    def __init__(self, program: Program, *, foreign: Sequence[int]) -> None:
        self.reader, writer = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            for descriptor in (self.reader, *foreign):
                os.close(descriptor)
            _LeaderProcess(program, writer).lead()
        os.close(writer)
        os.set_blocking(self.reader, False)
        self._listens = True

    def reports(self) -> list[tuple[int, int]]:
        """Return the kinds and numbers of new reports; each is written in one piece."""
        with contextlib.suppress(BlockingIOError):
            data = os.read(self.reader, 64 * _REPORT.size)
            return list(_REPORT.iter_unpack(data))
        return []

    def resume(self, *, in_foreground: bool) -> None:
        """Let the program go on, in the foreground of its terminal or in the background."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, _FOREGROUND if in_foreground else _BACKGROUND)

    def wait_for_release(self) -> None:
        """Wait, after the program's end, until the terminal belongs only to processes that outlive it."""
        os.set_blocking(self.reader, True)
        while os.read(self.reader, _REPORT.size):
            pass

    def close(self, *, end: bool) -> None:
        """Stop reading reports; with `end`, kill the process."""
        if self._listens:
            self._listens = False
            os.close(self.reader)
        if end:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self.pid, 0)


class _LeaderProcess:
    """The work of the forked copy."""

    def __init__(self, program: Program, writer: int) -> None:
        self.program, self.writer = program, writer
        self.terminal = program.terminal
        self.pid = 0
        self.owner = os.getppid()
        self.wakeup = Wakeup()
        self.abandoned = False

    def lead(self) -> NoReturn:
        """Start the program and report on it until it ends."""
        try:
            with self.wakeup:
                self._start()
                self._watch()
        except OSError as error:
            self._report(FAILED, error.errno or 0)
        finally:
            # The copy must not do what the original process does at its end.
            os._exit(0)

    def _start(self) -> None:
        program = self.program
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (*PASSED_ON, signal.SIGTSTP, signal.SIGCONT, signal.SIGWINCH):
            if callable(signal.getsignal(number)):
                signal.signal(number, signal.SIG_DFL)
        os.setsid()
        self.terminal.make_controlling()
        signal.signal(signal.SIGHUP, self._hung_up)
        signal.signal(_FOREGROUND, lambda *_: self._resume(self.pid))
        signal.signal(_BACKGROUND, lambda *_: self._resume(os.getpgrp()))

        def begin() -> None:
            if program.in_foreground:
                self.terminal.set_foreground(os.getpgrp())
            if program.prepare is not None:
                program.prepare()

        streams = program.streams
        self.pid = start(program.command, program.environment, streams=streams, group=0, prepare=begin)
        # The slave stays open: otherwise the terminal's end could be seen before the child's end is reported.
        for stream in {streams["stdout"], streams["stderr"]} - {self.terminal.slave, None}:
            os.close(stream)

    def _watch(self) -> None:
        self._report(STARTED, self.pid)
        while True:
            self._end_if_abandoned()
            pid, status = os.waitpid(self.pid, os.WUNTRACED | os.WNOHANG)
            if not pid:
                self._wait_for_signal()
            elif os.WIFSTOPPED(status):
                self._report(STOPPED, os.WSTOPSIG(status))
            else:
                break
        self.pid = 0
        self._report(ENDED, status)
        # A process that outlives the program keeps the terminal as long as its session has a leader.
        os.close(self.terminal.slave)
        keep_only(self.wakeup.descriptors())
        while True:
            self._wait_for_signal()

    def _wait_for_signal(self) -> None:
        """Wait for a signal since the last call; `signal.pause` would miss one that comes just before it."""
        select.select([self.wakeup.reader], [], [])
        self.wakeup.clear()
        self._end_if_abandoned()

    def _report(self, kind: int, number: int) -> None:
        with contextlib.suppress(BrokenPipeError):  # `run` was killed, and its end of the terminal is closed
            os.write(self.writer, _REPORT.pack(kind, number))

    def _resume(self, foreground: int) -> None:
        if self.pid:
            self.terminal.set_foreground(foreground)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGCONT)

    def _hung_up(self, *_: object) -> None:
        """Note the end of the terminal; the program's process id may not be known yet."""
        self.abandoned = True

    def _end_if_abandoned(self) -> None:
        """End the program, and this process, if `run` was killed."""
        if not self.abandoned:
            return
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            keep_only([])
            sweep_files(self.owner)
        os._exit(0)
