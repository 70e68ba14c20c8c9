"""The signals that a child gets from us, and a descriptor that becomes readable when one comes."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from types import FrameType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self

    Handler = Callable[[int, FrameType | None], Any]

__all__ = [
    "FROM_THE_KEYBOARD",
    "PASSED_ON",
    "Typed",
    "Wakeup",
    "handled",
    "keyboard_signals_apart",
    "keyboard_signals_left_to_main",
]


def _known(*names: str) -> frozenset[int]:
    return frozenset(getattr(signal, name) for name in names if hasattr(signal, name))


# All except those that cannot be caught, those about a fault or a child of this process itself, and those by
# which a terminal stops and continues its jobs.
PASSED_ON = frozenset(map(int, signal.valid_signals())) - _known(
    *("SIGKILL", "SIGSTOP", "SIGCHLD", "SIGTSTP", "SIGTTIN", "SIGTTOU", "SIGCONT", "SIGPIPE", "SIGURG"),
    *("SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGTRAP", "SIGABRT", "SIGSYS", "SIGXCPU", "SIGXFSZ", "SIGIO"),
)
"""Signals to this process that are meant for the child."""
FROM_THE_KEYBOARD = frozenset({int(signal.SIGINT), int(signal.SIGQUIT)})
"""The signals that a terminal itself sends to all programs of a job."""

_PR_SET_DUMPABLE = 4
_OF_JOBS = _known("SIGTSTP", "SIGCONT")

_LAST = signal.SIGURG
"""Ends our own waiting thread. No terminal sends it, and without a waiting thread it does nothing."""


class Typed:
    """A signal that was typed while a program ran, such as Ctrl-C, and which still has to act on the job.

    A terminal sends it to all programs of a job. A script that waits for us acts on it, and on whether we
    died of it, so we do as the program did.
    """

    __slots__ = ("ended_the_program", "group", "number")  # making a named tuple takes as long as a read

    def __init__(self, number: int, *, ended_the_program: bool, group: bool) -> None:
        self.number = number
        self.ended_the_program = ended_the_program
        self.group = group
        """Whether only the program got it, because it was typed into the program's own terminal."""

    def act(self) -> None:
        """Send the signal to the job, and die of it if the program did; called after the cleanup."""
        if threading.current_thread() is not threading.main_thread():
            return
        if self.ended_the_program and self.number == signal.SIGQUIT:
            _leave_no_core()
        signal.signal(self.number, signal.SIG_DFL if self.ended_the_program else signal.SIG_IGN)
        if self.group:
            os.killpg(0, self.number)
        elif self.ended_the_program:
            os.kill(os.getpid(), self.number)


def _leave_no_core() -> None:
    """Keep the memory of this process, with all the secrets in it, out of a core file."""
    import ctypes
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Only Linux has prctl, and needs it: it may pipe a core to a program in spite of the limit.
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


@contextlib.contextmanager
def handled(handlers: Mapping[int, Handler]) -> Iterator[frozenset[int]]:
    """Handle signals while the block runs; it gets those that were ignored, which a child must ignore, too.

    They are handled nevertheless, since the child may have its own handler for them.
    """
    if threading.current_thread() is not threading.main_thread():
        yield frozenset()
        return
    before: dict[int, Any] = {}
    try:
        for number, handler in handlers.items():
            if number not in _OF_JOBS or signal.getsignal(number) is not signal.SIG_IGN:
                with contextlib.suppress(OSError, ValueError):  # the C library keeps some to itself
                    before[number] = signal.signal(number, handler)
        yield frozenset(number for number, old in before.items() if old is signal.SIG_IGN)
    finally:
        for number, old in before.items():
            signal.signal(number, old if old is not None else signal.SIG_DFL)


@contextlib.contextmanager
def keyboard_signals_left_to_main() -> Iterator[None]:
    """Keep threads that start during the block from getting what the keyboard sends.

    `keyboard_signals_apart` blocks these signals in the main thread alone. The system would give one to
    another thread of ours, such as that of a watch, and then nobody knows whether it was typed.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "sigwaitinfo"):
        yield
        return
    start = threading.Thread.start

    def start_without(self: threading.Thread) -> None:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, FROM_THE_KEYBOARD)
        try:
            start(self)  # which takes over what is blocked here
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    # Libraries of backends start threads, too, and take no function that would do so.
    threading.Thread.start = start_without  # type: ignore[method-assign]  # until the end of the block
    try:
        yield
    finally:
        threading.Thread.start = start  # type: ignore[method-assign]  # as above


@contextlib.contextmanager
def keyboard_signals_apart(
    numbers: frozenset[int], sent: Callable[[int], object], typed: Callable[[int], object]
) -> Iterator[Callable[[], object]]:
    """Call `sent`, in a thread, for each of these signals that another process sends, while the block runs.

    For those that a terminal sends, `typed` is called: they reach the whole job anyway. If the system does
    not distinguish the two (macOS), nothing is changed. The block gets a function that a new process must
    call, so that it does not inherit the blocked signals.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not numbers or not in_main_thread or not hasattr(signal, "sigwaitinfo"):
        yield lambda: None
        return

    over = threading.Event()

    def take(info: signal.struct_siginfo) -> None:
        if info.si_code <= 0:  # SI_USER and its like; the kernel's own are positive
            sent(info.si_signo)
        else:
            typed(info.si_signo)

    def wait() -> None:
        while True:
            info = signal.sigwaitinfo(numbers | {_LAST})
            if info.si_signo != _LAST:
                take(info)
            elif over.is_set():
                return

    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers | {_LAST})
    thread = threading.Thread(target=wait, name="strongroom-signals", daemon=True)
    try:
        thread.start()
        yield lambda: signal.pthread_sigmask(signal.SIG_SETMASK, before)
    finally:
        if thread.ident is not None:
            # The program may have died of a signal that the thread has not handled yet: we must know of it.
            over.set()
            signal.pthread_kill(thread.ident, _LAST)
            thread.join()
            while (late := signal.sigtimedwait(numbers, 0)) is not None:
                take(late)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Wakeup:
    """A descriptor that becomes readable when a signal comes in."""

    def __enter__(self) -> Self:
        self.reader, self._writer = os.pipe()
        os.set_blocking(self.reader, False)
        os.set_blocking(self._writer, False)
        self.works = threading.current_thread() is threading.main_thread()
        if self.works:
            self._before = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        return self

    def __exit__(self, *_: object) -> None:
        if self.works:
            signal.set_wakeup_fd(self._before)
        os.close(self.reader)
        os.close(self._writer)

    def descriptors(self) -> tuple[int, int]:
        """Return the descriptors that must stay open while signals are waited for."""
        return self.reader, self._writer

    def clear(self) -> None:
        """Forget the signals that came."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self.reader, 4096):
                pass
