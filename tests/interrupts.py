"""Interrupts of the main thread at any moment of a call, as by Ctrl-C or a task queue's time limit."""

from __future__ import annotations

import dis
import gc
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from types import CodeType, FrameType
from typing import Any, TypeVar

__all__ = ["interrupted", "interrupted_at_each_moment"]

T = TypeVar("T")

_LONG_SECONDS = 2
"""After so long the signal has come, and Python has dropped what the handler raised: it was in a destructor."""


class InterruptInTest(BaseException):
    """What the handler raises."""


def interrupted(call: Callable[[], object], times: int, *, handled: bool = False) -> Iterator[None]:
    """Make `call` again and again until a signal comes, about a millisecond later, and yield after each.

    It yields while the handler's exception is being handled, or with `handled` afterwards.
    """

    def until_a_signal_comes() -> None:
        signal.setitimer(signal.ITIMER_REAL, 0.0005 + chance.random() * 0.001)
        until = time.monotonic() + _LONG_SECONDS
        while time.monotonic() < until:
            call()
        signal.setitimer(signal.ITIMER_REAL, 0)

    def handle(*_: object) -> None:
        raise InterruptInTest

    def drop(unraisable: Any) -> None:
        if unraisable.exc_type is not InterruptInTest:
            hook(unraisable)

    chance, before = random.Random(1), signal.signal(signal.SIGALRM, handle)
    hook, sys.unraisablehook = sys.unraisablehook, drop  # Python drops what is raised in a destructor
    gc.disable()  # nor does it raise what its callbacks do, of which some libraries have one
    try:
        for _ in range(times):
            try:
                until_a_signal_comes()
            except InterruptInTest:
                if not handled:
                    yield
            if handled:
                yield
    finally:
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        sys.unraisablehook = hook
        gc.enable()


_THEN_HANDLERS_RUN = frozenset(
    dis.opmap[name] for name in ("CALL", "CALL_FUNCTION_EX", "CALL_KW", "JUMP_BACKWARD") if name in dis.opmap
)
"""After these instructions Python looks for signals; a call of a Python function does so as that begins."""


_CALLBACKS = frozenset({"_forget"})
"""Those of weak references: Python drops what they raise."""


class _Tracer:
    """Raises at one moment, counted from 0, at which a signal handler could run in our code."""

    def __init__(self, moment: int) -> None:
        self.left = moment
        self.before: dict[FrameType, int] = {}
        self.called: set[FrameType] = set()

    def begin(self, frame: FrameType, _event: str, _arg: object) -> Any:
        if frame.f_back is not None:
            self.called.add(frame.f_back)
        code = frame.f_code
        if "strongroom" not in frame.f_globals.get("__name__", "") or code.co_qualname in _CALLBACKS:
            return None
        # Python 3.13 traces the instructions of this very call only if the frame has its function by then.
        frame.f_trace = self.go_on
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return self.go_on

    def go_on(self, frame: FrameType, event: str, _arg: object) -> Any:
        if event == "opcode":
            before, self.before[frame] = self.before.get(frame, -1), frame.f_lasti
            called = frame in self.called
            self.called.discard(frame)
            if not called and before >= 0 and _may_run(frame.f_code, before, frame.f_lasti):
                self.left -= 1
                if self.left < 0:
                    sys.settrace(None)
                    raise InterruptInTest
        return self.go_on


def _may_run(code: CodeType, before: int, now: int) -> bool:
    """Return whether a handler may run after an instruction, under the same `try` as the one to come."""
    if code.co_code[before] not in _THEN_HANDLERS_RUN:
        return False
    guards = dis._parse_exception_table(code)  # type: ignore[attr-defined]  # no other way
    around = [[one.target for one in guards if one.start <= at < one.end] for at in (before, now)]
    return around[0] == around[1]


def interrupted_at_each_moment(prepare: Callable[[], T], call: Callable[[T], object]) -> Iterator[T]:
    """Make `call` on what `prepare` returns, interrupted at its first moment, its second, and so on.

    It yields what was prepared, after each interrupt, while the handler's exception is being handled.
    """
    # Python 3.12 traces instructions only after a `settrace` that comes after some frame was asked for them.
    sys._getframe().f_trace_opcodes = True
    moment, tracing, was_raised = 0, sys.gettrace(), True
    while was_raised:
        thing, tracer, was_raised = prepare(), _Tracer(moment), False
        try:
            gc.disable()  # Python drops what is raised while garbage is collected
            sys.settrace(tracer.begin)
            try:
                call(thing)
            finally:
                sys.settrace(tracing)
                gc.enable()
        except InterruptInTest:
            was_raised = True
            yield thing
        moment += 1
    assert moment > 1, "there was no moment to interrupt"
