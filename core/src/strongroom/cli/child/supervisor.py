"""Runs a program as if it had been started directly: its streams, its signals, its exit code."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol

from strongroom.cli.child import session_leader
from strongroom.cli.child.launch import refuse_start, start
from strongroom.cli.child.relay import Relay
from strongroom.cli.child.signals import FROM_THE_KEYBOARD, PASSED_ON, Wakeup, handled, keyboard_signals_apart
from strongroom.cli.child.terminal import Terminal, is_controlled

if TYPE_CHECKING:
    from strongroom.masking import Masker

__all__ = ["StoppedForRestart", "run_child"]

_STDIN, _STDOUT, _STDERR = 0, 1, 2
_POLL_SECONDS = 0.05
_ENDING = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT})


class Control(Protocol):
    """Says that a child is to get something new; see `strongroom.cli.watching.ChildControl`."""

    reader: int
    number: int | None
    stop_timeout: float

    def take(self) -> bool: ...
    def started(self) -> None: ...


class StoppedForRestart(Exception):  # noqa: N818  # the child's end is expected
    """The child was ended so that it starts again."""


def run_child(
    command: Sequence[str],
    environment: Mapping[str, str],
    masker: Callable[[], Masker] | None,
    control: Control | None = None,
) -> int:
    """Run `command` and return its exit code, or 128+N after signal N.

    Without a `masker`, which is called when there is something to mask, the child has our own streams. With
    one, its output goes through us: on a terminal it has a terminal of its own, elsewhere pipes. Processes
    that outlive the child are not waited for; what they print is passed on until they pause.

    With a `control` the child gets its signal as something is to be given to it, or is ended.

    Raises:
        UsageError: It cannot be started; its code is 126 or 127, as in a shell.
        StoppedForRestart: It was ended because `control` asked for it.
    """
    on_terminal = masker is not None and os.isatty(_STDOUT)
    child = (_OnTerminal if on_terminal else _Child)(command, environment, masker, control)
    code = child.run()
    if child.stopping:
        raise StoppedForRestart
    return 128 - code if code < 0 else code


class _Child:
    """The child with pipes for its output, or with our own streams."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        masker: Callable[[], Masker] | None,
        control: Control | None,
    ) -> None:
        self.control = control
        self.stopping = False
        self.kill_at: float | None = None
        self.command = list(command)
        self.environment = dict(environment)
        self.masker = masker
        self.pid: int | None = None
        self.returncode: int | None = None
        self.failure: int | None = None
        self.early: list[int] = []
        self.relays: list[Relay] = []
        self.prepare: Callable[[], object] | None = None
        # Programs of one job share the terminal: a group of its own would be in the background, and be
        # stopped as soon as it asked for a password. There the terminal itself sends Ctrl-C to all.
        self.own_group = not is_controlled()

    def run(self) -> int:
        with contextlib.ExitStack() as stack:
            wakeup = stack.enter_context(Wakeup())
            stack.enter_context(handled(self._handlers()))
            if not self.own_group:
                self.prepare = stack.enter_context(keyboard_signals_apart(FROM_THE_KEYBOARD, self._send))
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
            refuse_start(self.command[0], self.environment, self.failure)
        assert self.returncode is not None  # noqa: S101  # `_supervise` ends with one of the two
        return self.returncode

    def _start(self, ends: list[int]) -> None:
        streams = {}
        if self.masker is not None:
            out = self._pipe(self.masker, _STDOUT, ends)
            # Where both go to one place their order is worth keeping, so they share a pipe.
            err = out if _same_file() else self._pipe(self.masker, _STDERR, ends)
            streams = {"stdout": out, "stderr": err}
        group = 0 if self.own_group else None
        process = start(self.command, self.environment, streams=streams, group=group, prepare=self.prepare)
        process.returncode = 0  # reaped here, with everybody else's children
        self._started(process.pid)

    def _pipe(self, masker: Callable[[], Masker], target: int, ends: list[int]) -> int:
        reader, writer = os.pipe()
        ends.append(writer)
        self.relays.append(Relay(reader, target, masker))
        return writer

    def _started(self, pid: int) -> None:
        self.pid = pid
        if self.control is not None:
            self.control.started()
        while self.early:
            self._send(self.early.pop(0))

    # --- while it runs ---

    @property
    def _is_over(self) -> bool:
        return self.returncode is not None or self.failure is not None

    def _supervise(self, wakeup: Wakeup) -> None:
        with selectors.DefaultSelector() as selector:
            while not self._is_over:
                _watch(selector, self._wanted() | {wakeup.reader: selectors.EVENT_READ})
                ready = {key.fd: events for key, events in selector.select(self._patience(wakeup))}
                wakeup.clear()
                self._act(ready)
                self._heed_control(ready)
                self._reap()
        for relay in self.relays:
            relay.drain()

    def _patience(self, wakeup: Wakeup) -> float | None:
        due = [] if self.kill_at is None else [max(self.kill_at - time.monotonic(), 0.0)]
        waits = due + [seconds for relay in self.relays if (seconds := relay.wait_seconds()) is not None]
        if not wakeup.works:
            waits.append(_POLL_SECONDS)  # nothing else tells a thread that the child has ended
        return min(waits, default=None)

    def _wanted(self) -> dict[int, int]:
        wanted = {relay.source: selectors.EVENT_READ for relay in self.relays if relay.open}
        if self.control is not None and self.pid is not None:
            wanted[self.control.reader] = selectors.EVENT_READ
        return wanted

    def _heed_control(self, ready: Mapping[int, int]) -> None:
        """Give the child what is new: its signal, or an end in time."""
        if self.kill_at is not None and time.monotonic() >= self.kill_at:
            self.kill_at = None
            self._send(signal.SIGKILL)
        control = self.control
        if control is None or control.reader not in ready or not control.take() or self._is_over:
            return
        for relay in self.relays:
            relay.change_masker()
        if control.number is None:
            if not self.stopping:
                self.stopping = True
                self.kill_at = time.monotonic() + control.stop_timeout
                self._send(signal.SIGTERM)
        elif self.pid is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(self.pid, control.number)

    def _act(self, ready: Mapping[int, int]) -> None:
        for relay in self.relays:
            if relay.open and ready.get(relay.source, 0) & selectors.EVENT_READ:
                relay.forward()
            relay.release_due()

    def _reap(self) -> None:
        """Reap what has ended: the child, and as process 1 also what others left."""
        with contextlib.suppress(ChildProcessError):
            while not self._is_over:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                self._ended(pid, os.waitstatus_to_exitcode(status))

    def _ended(self, pid: int, code: int) -> None:
        if pid == self.pid:
            self.returncode = code

    # --- signals ---

    def _handlers(self) -> dict[int, Any]:
        handlers: dict[int, Any] = dict.fromkeys(PASSED_ON, self._received)
        handlers[signal.SIGCHLD] = _wake
        if self.own_group:
            handlers |= {signal.SIGTSTP: self._stopped, signal.SIGCONT: self._received}
        return handlers

    def _received(self, number: int, frame: FrameType | None) -> None:
        del frame
        if number in _ENDING:
            self.stopping = False  # somebody wants an end, and not another start
        if self.own_group or number not in FROM_THE_KEYBOARD:
            self._send(number)

    def _stopped(self, number: int, frame: FrameType | None) -> None:
        del frame
        self._send(number)
        self._suspend()

    def _suspend(self) -> None:
        """Stop with the child, and continue with it."""
        before = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        # Where no shell could continue us, the kernel lets us go on at once.
        os.killpg(0, signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, before)
        self._send(signal.SIGCONT)

    def _send(self, number: int) -> None:
        if self.pid is None:
            self.early.append(number)
        elif not self._is_over:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                (os.killpg if self.own_group else os.kill)(self.pid, number)


class _OnTerminal(_Child):
    """The child with a terminal of its own, led by a monitor."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        masker: Callable[[], Masker] | None,
        control: Control | None,
    ) -> None:
        super().__init__(command, environment, masker, control)
        self.own_group = True
        self.terminal = Terminal(_STDOUT)
        self.monitor: session_leader.Monitor | None = None

    def run(self) -> int:
        with self.terminal:
            return super().run()

    def _start(self, ends: list[int]) -> None:
        assert self.masker is not None  # noqa: S101  # that is why there is a terminal
        slave = self.terminal.slave
        ends.append(slave)
        self.relays.append(Relay(self.terminal.master, _STDOUT, self.masker))
        streams = {
            "stdin": slave if os.isatty(_STDIN) else None,
            "stdout": slave,
            "stderr": slave if os.isatty(_STDERR) else self._pipe(self.masker, _STDERR, ends),
        }
        self.monitor = session_leader.Monitor(
            self.command,
            self.environment,
            terminal=self.terminal,
            streams=streams,
            foreign=[relay.source for relay in self.relays],
        )

    def _wanted(self) -> dict[int, int]:
        wanted = super()._wanted()
        if self.monitor is not None:
            wanted[self.monitor.reader] = selectors.EVENT_READ
        if self.terminal.master in wanted:
            if self.terminal.has_input:
                wanted[self.terminal.master] |= selectors.EVENT_WRITE
            elif self.terminal.reads_input:
                wanted[_STDIN] = selectors.EVENT_READ
        return wanted

    def _act(self, ready: Mapping[int, int]) -> None:
        if _STDIN in ready:
            self.terminal.forward_input()
        if ready.get(self.terminal.master, 0) & selectors.EVENT_WRITE:
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
        elif number == signal.SIGTSTP:
            self._suspend()

    def _ended(self, pid: int, code: int) -> None:
        # The monitor has told what it knows before it ends; if not, its own end stands for the child's.
        if self.monitor is not None and pid == self.monitor.pid:
            for kind, number in self.monitor.reports():
                self._reported(kind, number)
            if not self._is_over:
                self.returncode = code

    def _handlers(self) -> dict[int, Any]:
        return super()._handlers() | {
            signal.SIGWINCH: lambda *_: self.terminal.resize(),
            signal.SIGTSTP: self._received,  # the monitor will tell when the child has stopped
            signal.SIGCONT: lambda *_: self.terminal.attach(),
        }

    def _suspend(self) -> None:
        self.terminal.detach()
        super()._suspend()
        self.terminal.attach()


def _watch(selector: selectors.BaseSelector, wanted: Mapping[int, int]) -> None:
    """Make `wanted` what the selector waits for."""
    known = {key.fd: key.events for key in selector.get_map().values()}
    for descriptor in known.keys() - wanted.keys():
        selector.unregister(descriptor)
    for descriptor, events in wanted.items():
        if descriptor not in known:
            selector.register(descriptor, events)
        elif known[descriptor] != events:
            selector.modify(descriptor, events)


def _wake(number: int, frame: FrameType | None) -> None:
    """Do nothing: that the handler is there makes the wake-up descriptor readable."""


def _same_file() -> bool:
    try:
        out, err = os.fstat(_STDOUT), os.fstat(_STDERR)
    except OSError:
        return False
    return (out.st_dev, out.st_ino) == (err.st_dev, err.st_ino)
