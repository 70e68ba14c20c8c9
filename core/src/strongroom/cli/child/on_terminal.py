"""A child on its own terminal, whose output is masked on its way to ours."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Mapping
from types import FrameType
from typing import TYPE_CHECKING, Any

from strongroom.cli.child import session_leader
from strongroom.cli.child.relay import Relay
from strongroom.cli.child.signals import FROM_THE_KEYBOARD, Typed
from strongroom.cli.child.supervisor import READABLE, STDERR, STDIN, STDOUT, WRITABLE, Supervisor
from strongroom.cli.child.terminal import Terminal, in_foreground

if TYPE_CHECKING:
    from strongroom.cli.child.supervisor import Job

__all__ = ["TerminalSupervisor"]


_ASKS_FOR_THE_TERMINAL = frozenset({signal.SIGTTIN, signal.SIGTTOU})


class TerminalSupervisor(Supervisor):
    """The child with its own terminal, whose session a `SessionLeader` leads."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self.own_group = True
        self.terminal = Terminal(STDOUT)
        self.monitor: session_leader.SessionLeader | None = None
        self.was_typed_in_line = False
        self.terminal_took_it = True
        self.has_jobs = False

    def _enter(self, stack: contextlib.ExitStack) -> None:
        stack.enter_context(self.terminal)  # the session leader is its guard

    def _start(self, ends: list[int]) -> None:
        masker = self.job.masker
        assert masker is not None  # noqa: S101  # that is why there is a terminal
        slave = self.terminal.slave
        ends.append(slave)
        self.relays.append(Relay(self.terminal.master, STDOUT, masker))
        streams = {
            "stdin": slave if os.isatty(STDIN) else None,
            "stdout": slave,
            "stderr": slave if os.isatty(STDERR) else self._pipe(masker, STDERR, ends),
        }
        program = session_leader.Program(
            self.job.command,
            self.job.environment,
            terminal=self.terminal,
            streams=streams,
            in_foreground=self.terminal.reads_input,
            prepare=self.prepare_all if self.prepare else None,
        )
        self.monitor = session_leader.SessionLeader(program, foreign=[relay.source for relay in self.relays])

    def _wanted(self) -> dict[int, int]:
        wanted = super()._wanted()
        if self.monitor is not None:
            wanted[self.monitor.reader] = READABLE
        if self.terminal.master in wanted:
            if self.terminal.has_input:
                wanted[self.terminal.master] |= WRITABLE
            elif self.terminal.reads_input:
                wanted[self.terminal.keys] = READABLE
        return wanted

    def _act(self, ready: Mapping[int, int]) -> None:
        if self.terminal.keys in ready:
            self._typed(self.terminal.forward_input())
        if ready.get(self.terminal.master, 0) & WRITABLE:
            self.terminal.flush_input()
        super()._act(ready)
        if self.monitor is not None and self.monitor.reader in ready:
            for kind, number in self.monitor.reports():
                self._reported(kind, number)

    def _reported(self, kind: int, number: int) -> None:
        if kind == session_leader.STARTED:
            self._started(number)
        elif kind == session_leader.FAILED:
            self.failure = number
        elif kind == session_leader.ENDED:
            self.returncode = os.waitstatus_to_exitcode(number)
        elif number in _ASKS_FOR_THE_TERMINAL:
            # In the background of its own terminal it is stopped when it reads a key or changes a mode.
            self.terminal.wanted = True
            if in_foreground(self.terminal.keys):
                self._go_on()
            else:
                self._suspend(number)  # the kernel would have stopped the whole job
        else:
            self._suspend()

    def _typed(self, data: bytes) -> None:
        group = self.terminal.foreground
        self.has_jobs |= group not in {self.pid, None}
        number = self.terminal.signal_of(data)
        if number is not None:
            self.typed = number
            self._prefer_end(number)
            self.terminal_took_it = True
            self.was_typed_in_line = self.terminal.reads_lines and group == self.pid

    def typed_signal(self, code: int) -> Typed | None:
        """Return the typed signal that the job has not got, or that has ended the child."""
        if self.typed is None or self.typed in self.ignored:
            return None
        if code == -self.typed:
            return Typed(self.typed, ended_the_program=True, group=self.terminal_took_it)
        # A program with its own jobs, such as a shell, or one that reads single keys handles the signal
        # itself.
        if code >= 0 and self.was_typed_in_line and not self.has_jobs:
            return Typed(self.typed, ended_the_program=False, group=True)
        return None

    @property
    def _process(self) -> int | None:
        return self.monitor.pid if self.monitor is not None else None

    def _ended(self, pid: int, code: int) -> None:
        # The session leader reports before it ends; if it has not, its own end counts as the child's.
        if self.monitor is not None and pid == self.monitor.pid:
            for kind, number in self.monitor.reports():
                self._reported(kind, number)
            if not self._is_over:
                self.returncode = code

    def _handlers(self) -> dict[int, Any]:
        return super()._handlers() | {
            signal.SIGWINCH: lambda *_: self.terminal.resize(),
            signal.SIGTSTP: self._received,  # the session leader reports when the child has stopped
            signal.SIGCONT: lambda *_: self._go_on(),
        }

    def _received(self, number: int, frame: FrameType | None) -> None:
        super()._received(number, frame)
        if number in FROM_THE_KEYBOARD and not self.terminal.reads_input:
            # Our terminal was not raw, so the signal may have come from there, to the whole job.
            self.typed, self.was_typed_in_line, self.terminal_took_it = number, False, False

    def _leave_terminal(self) -> None:
        self.terminal.detach()

    def _go_on(self) -> None:
        here = self.terminal.attach()
        if self.monitor is not None:
            self.monitor.resume(in_foreground=here)

    def _leave_session(self) -> None:
        if self.monitor is not None and self.failure is None:
            self.monitor.wait_for_release()

    def _after(self, *, left: bool) -> None:
        if self.monitor is not None:
            self.monitor.close(end=not left)
