"""A running program, whose streams and signals are passed on until it ends."""

from __future__ import annotations

import contextlib
import math
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Mapping
from types import FrameType

from strongroom.cli.child.guard import Guard
from strongroom.cli.child.launch import refuse_start, start
from strongroom.cli.child.relay import Relay, leave_behind, same_file
from strongroom.cli.child.signals import (
    FROM_THE_KEYBOARD,
    PASSED_ON,
    Typed,
    Wakeup,
    handled,
    keyboard_signals_apart,
)
from strongroom.cli.standard_streams import closed_at_start, is_controlled
from strongroom.runtime.frozen import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    from strongroom.masking import Masker

    class Control(Protocol):
        """Says when a child must get changed secrets; see `strongroom.cli.child.control.ChildControl`."""

        reader: int
        number: int | None
        stop_timeout: float
        met: list[int]

        def take(self) -> bool: ...
        def started(self) -> None: ...


__all__ = ["READABLE", "STDERR", "STDIN", "STDOUT", "WRITABLE", "Job", "Supervisor"]

STDIN, STDOUT, STDERR = 0, 1, 2
READABLE, WRITABLE = select.POLLIN, select.POLLOUT
_POLL_SECONDS = 0.05
_LONGEST_POLL = 1e6
"""Seconds; `poll` takes an int of C, in milliseconds, and `--stop-timeout` may be `inf`."""
_QUIET_SECONDS = 0.1
"""After so long without output there is time to make the masker; many programs have ended by then."""
_ORPHAN_SECONDS = 2.0
"""How long a thread of ours has to fetch the exit code of a program that it has started."""
_BY_ITSELF = frozenset({signal.SIGSTOP, signal.SIGTSTP})
"""Signals by which a program stops itself."""
_ENDING = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT})


class Job(NamedTuple):
    """What a child is to be started with."""

    command: list[str]
    environment: dict[str, str]
    masker: Callable[[], Masker] | None
    """Makes the masker of its output; None if that is not masked."""
    control: Control | None
    """Says when it must get changed secrets; None without `--watch`."""

    def __repr__(self) -> str:
        return "<Job>"  # no argument, and no variable: they may hold values


class Supervisor:
    """The child with pipes for its output, or with our own streams."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.stopping = False
        self.restart_due = False
        self.restart_from = 0.0
        """When changed secrets may restart it: not while a signal may be ending it."""
        self.stop_asked = False
        self.kill_at: float | None = None
        self.prepare_at: float | None = None
        self.orphan: tuple[int, float] | None = None
        """A process that has ended, and when it is reaped unless a thread of ours does so before."""
        self.pid: int | None = None
        self.returncode: int | None = None
        self.failure: int | None = None
        self.early: list[int] = []
        self.relays: list[Relay] = []
        self.ignored: frozenset[int] = frozenset()
        self.typed: int | None = None
        self.prepare: list[Callable[[], object]] = []
        # Programs of one job share the terminal: in a group of its own the child would be in the background,
        # and stopped as soon as it asked for a password. In one job, the terminal itself sends Ctrl-C to all.
        self.own_group = not is_controlled()

    def run(self) -> int:
        with contextlib.ExitStack() as stack:
            self._enter(stack)
            wakeup = stack.enter_context(Wakeup())
            self.ignored = stack.enter_context(handled(self._handlers()))
            if self.ignored:
                self.prepare.append(self._ignore)
            if not self.own_group:
                self.prepare.append(
                    stack.enter_context(
                        keyboard_signals_apart(FROM_THE_KEYBOARD, self._send, self._met_typed)
                    )
                )
            for number in self.job.control.met if self.job.control is not None else ():
                self._prefer_end(number)
                self._send(number)  # as soon as there is a child
            ends: list[int] = []
            try:
                self._start(ends)
            except OSError as error:
                self.failure = error.errno or 0
            finally:
                for end in ends:
                    os.close(end)
            self._supervise(wakeup)
        if self.failure is not None:
            refuse_start(self.job.command[0], self.job.environment, self.failure)
        assert self.returncode is not None  # noqa: S101  # `_supervise` ends with one of the two
        return self.returncode

    def _enter(self, stack: contextlib.ExitStack) -> None:
        """Enter what is needed from before signals are handled until the end."""
        guard = stack.enter_context(Guard())
        # The new process does this itself: we could be killed between its start and doing it.
        self.prepare.append(lambda: guard.watch(os.getpid(), group=self.own_group))

    def _ignore(self) -> None:
        for number in self.ignored:
            signal.signal(number, signal.SIG_IGN)

    def prepare_all(self) -> None:
        """Do what a new process has to do before it becomes the program."""
        for step in self.prepare:
            step()

    def _start(self, ends: list[int]) -> None:
        streams: dict[str, int] = {}
        closed = closed_at_start()
        if self.job.masker is not None and STDOUT not in closed:
            streams["stdout"] = self._pipe(self.job.masker, STDOUT, ends)
        if self.job.masker is not None and STDERR not in closed:
            # If both lead to the same place they share a pipe, which keeps their order.
            shared = streams.get("stdout") if same_file(STDOUT, STDERR) else None
            streams["stderr"] = shared if shared is not None else self._pipe(self.job.masker, STDERR, ends)
        pid = start(
            self.job.command,
            self.job.environment,
            streams=streams,
            group=0 if self.own_group else None,
            prepare=self.prepare_all if self.prepare else None,
        )
        self._started(pid)

    def _pipe(self, masker: Callable[[], Masker], target: int, ends: list[int]) -> int:
        reader, writer = os.pipe()
        ends.append(writer)
        self.relays.append(Relay(reader, target, masker))
        return writer

    def _started(self, pid: int) -> None:
        self.pid = pid
        self.prepare_at = time.monotonic() + _QUIET_SECONDS if self.relays else None
        if self.job.control is not None:
            self.job.control.started()
        while self.early:
            self._send(self.early.pop(0))

    # --- while it runs ---

    @property
    def _is_over(self) -> bool:
        return self.returncode is not None or self.failure is not None

    def _supervise(self, wakeup: Wakeup) -> None:
        while not self._is_over:
            ready = _ready(self._wanted() | {wakeup.reader: READABLE}, self._patience(wakeup))
            wakeup.clear()
            self._act(ready)
            self._heed_control(ready)
            self._reap()
            self._prepare_relays()
        self._leave_session()
        for relay in self.relays:
            relay.drain()
        left = [relay for relay in self.relays if relay.open]
        if left and self.failure is None:
            leave_behind(left)
        self._after(left=bool(left))
        for relay in left:
            relay.abandon()

    def _leave_session(self) -> None:
        """Do what is necessary before it is known whether other processes can still print."""

    def _after(self, *, left: bool) -> None:
        """Clean up at the end; `left` says whether processes are left that can still print."""

    def _patience(self, wakeup: Wakeup) -> float | None:
        restart_at = self.restart_from if self.restart_due and not self.stopping else math.inf
        reap_at = self.orphan[1] if self.orphan is not None else None
        times = (self.kill_at, self.prepare_at, reap_at, restart_at if math.isfinite(restart_at) else None)
        due = [max(at - time.monotonic(), 0.0) for at in times if at is not None]
        waits = due + [seconds for relay in self.relays if (seconds := relay.wait_seconds()) is not None]
        if not wakeup.works:
            # Outside of the main thread, only polling shows that the child has ended.
            waits.append(_POLL_SECONDS)
        return min(waits, default=None)

    def _prepare_relays(self) -> None:
        if self.prepare_at is not None and time.monotonic() >= self.prepare_at and not self._is_over:
            self.prepare_at = None
            for relay in self.relays:
                relay.prepare()

    def _wanted(self) -> dict[int, int]:
        wanted = {relay.source: READABLE for relay in self.relays if relay.open}
        if self.job.control is not None and self.pid is not None:
            wanted[self.job.control.reader] = READABLE
        return wanted

    def _heed_control(self, ready: Mapping[int, int]) -> None:
        """Give the child changed secrets, by its signal or a restart; kill one that does not end in time."""
        if self.kill_at is not None and time.monotonic() >= self.kill_at:
            self.kill_at = None
            self._send(signal.SIGKILL)
        control = self.job.control
        if control is None or self._is_over:
            return
        if control.reader in ready and control.take():
            for relay in self.relays:
                relay.change_masker()
            if control.number is None:
                self.restart_due = True
            elif self.pid is not None:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(self.pid, control.number)
        now = time.monotonic()
        if self.restart_due and not self.stopping and now >= self.restart_from:
            self.stopping = True
            self.kill_at = now + control.stop_timeout
            if now < self.restart_from:  # a signal has come since, and asks for an end
                self.stopping, self.kill_at = False, None
            else:
                self._send(signal.SIGTERM)

    def _act(self, ready: Mapping[int, int]) -> None:
        for relay in self.relays:
            if relay.open and ready.get(relay.source, 0) & READABLE:
                relay.forward()
            relay.release_due()

    @property
    def _process(self) -> int | None:
        """The process of ours whose end is waited for."""
        return self.pid

    def _reap(self) -> None:
        """Reap the child when it has ended, and, as process 1, also orphans."""
        with contextlib.suppress(ChildProcessError):
            while not self._is_over and self._process is not None:
                pid, status = os.waitpid(self._process, os.WNOHANG | os.WUNTRACED)
                if pid == 0:
                    break
                if os.WIFSTOPPED(status):
                    self._stopped_itself(pid, os.WSTOPSIG(status))
                else:
                    self._ended(pid, os.waitstatus_to_exitcode(status))
            self._reap_orphans()

    def _reap_orphans(self) -> None:
        """Reap the processes that have ended and that nobody waits for.

        A provider may run a program on another thread, as for a watch. If we reaped that at once, its failure
        would be lost, and nothing told from an empty answer. So the first one gets a while, if there may be
        such a program at all; all others go with it, unless it is known that somebody waits for them.

        Raises:
            ChildProcessError: We have no child at all.
        """
        if not hasattr(os, "waitid"):  # macOS has no process 1 but its own
            return
        at_once = "subprocess" not in sys.modules
        while True:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended is None or ended.si_pid == self._process:
                self.orphan = None
                return
            pid, now = ended.si_pid, time.monotonic()
            if not at_once or _is_waited_for(pid):
                if self.orphan is None or self.orphan[0] != pid:
                    self.orphan = (pid, now + _ORPHAN_SECONDS)
                if now < self.orphan[1]:
                    return
                at_once = True
            os.waitpid(pid, os.WNOHANG)

    def _stopped_itself(self, pid: int, number: int) -> None:
        if pid != self.pid:
            return
        if self.stop_asked:
            self.stop_asked = False
            self._suspend(job=False)
        elif number in _BY_ITSELF and not self.own_group and os.getpgrp() == os.getpid():
            self._suspend()  # the shell looks at us, the first process of the job

    def _ended(self, pid: int, code: int) -> None:
        if pid == self.pid:
            self.returncode = code

    # --- signals ---

    def _met_typed(self, number: int) -> None:
        self.typed = number
        self._prefer_end(number)

    def _prefer_end(self, number: int) -> None:
        """Note a signal that may end the child: then it must not be started again.

        One that goes on in spite of it can be restarted later, but not after SIGTERM: that asks for an end.
        """
        control = self.job.control
        if control is None or number not in _ENDING:
            return
        patience = math.inf if number == signal.SIGTERM else control.stop_timeout
        self.restart_from = max(self.restart_from, time.monotonic() + patience)
        if self.stopping:
            self.stopping, self.kill_at = False, None

    def typed_signal(self, code: int) -> Typed | None:
        """Return the typed signal that we have to die of, as the child did; None if there is none."""
        if self.typed is None or self.typed in self.ignored or code != -self.typed:
            return None
        return Typed(self.typed, ended_the_program=True, group=False)

    def _handlers(self) -> dict[int, Any]:
        handlers: dict[int, Any] = dict.fromkeys(PASSED_ON, self._received)
        handlers[signal.SIGCHLD] = _wake
        handlers[signal.SIGTSTP] = self._stopped
        if self.own_group:
            handlers[signal.SIGCONT] = self._received
        return handlers

    def _received(self, number: int, frame: FrameType | None) -> None:
        del frame
        self._prefer_end(number)
        if self.own_group or number not in FROM_THE_KEYBOARD:
            self._send(number)

    def _stopped(self, number: int, frame: FrameType | None) -> None:
        del frame
        # We stop once the child has stopped, which may be later or never: if a shell saw us stopped while the
        # child still reads the terminal, each would get a part of what is typed.
        self.stop_asked = True
        if self.own_group or self.pid is None:  # otherwise it came from the terminal, to the whole job
            self._send(number)

    def _suspend(self, number: int = signal.SIGTSTP, *, job: bool = True) -> None:
        """Stop after the child, with the rest of the `job`, once its output is written; continue with it."""
        for relay in self.relays:
            relay.drain()
            relay.release()
        self._leave_terminal()
        before = signal.signal(number, signal.SIG_DFL)
        # If no shell could continue us, the kernel does not stop us.
        os.kill(0 if job else os.getpid(), number)
        # A stop that comes now is handled after the child goes on, since that would undo it.
        held = signal.pthread_sigmask(signal.SIG_BLOCK, {number, signal.SIGTSTP})
        self._go_on()
        signal.signal(number, before)
        signal.pthread_sigmask(signal.SIG_SETMASK, held)

    def _leave_terminal(self) -> None:
        """Do what is necessary before others of our job, or its shell, get our terminal."""

    def _go_on(self) -> None:
        # Continuing a job has continued the child, too. By now a typed key may have stopped it again: a
        # signal from us would undo that.
        if self.own_group or not self._is_changed():
            self._send(signal.SIGCONT)

    def _is_changed(self) -> bool:
        """Return whether a child that had stopped was continued by another process; macOS does not say."""
        if not hasattr(os, "waitid") or self.pid is None:
            return False
        any_change = os.WCONTINUED | os.WSTOPPED | os.WEXITED
        return os.waitid(os.P_PID, self.pid, any_change | os.WNOHANG | os.WNOWAIT) is not None

    def _send(self, number: int) -> None:
        if self.pid is None:
            self.early.append(number)
        elif not self._is_over:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                (os.killpg if self.own_group else os.kill)(self.pid, number)


def _is_waited_for(pid: int) -> bool:
    """Return whether a thread of ours is known to wait for a program."""
    programs = sys.modules.get("strongroom.providers.programs")
    return programs is not None and bool(programs.is_running(pid))


def _ready(wanted: Mapping[int, int], seconds: float | None) -> dict[int, int]:
    """Wait until one of the `wanted` descriptors is ready, or for so long; return for what each is ready.

    One that has failed, or whose other side is closed, is ready for reading: a read tells what has happened.
    """
    waiting = select.poll()
    for descriptor, events in wanted.items():
        waiting.register(descriptor, events)
    found = waiting.poll(None if seconds is None else math.ceil(min(seconds, _LONGEST_POLL) * 1e3))
    return {
        descriptor: (events & WRITABLE) | (READABLE if events & ~WRITABLE else 0)
        for descriptor, events in found
    }


def _wake(number: int, frame: FrameType | None) -> None:
    """Do nothing: having a handler makes the wake-up descriptor readable."""
