"""Deadlines, and a way to keep to them where a library cannot."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["Deadline", "OutOfTimeError", "Runner"]

T = TypeVar("T")

_IDLE_SECONDS = 30.0


class OutOfTimeError(Exception):
    """A call did not end before its deadline."""


class Deadline:
    """A point in time that a call, with all its retries, must end before."""

    __slots__ = ("end",)

    def __init__(self, seconds: float | None, within: Deadline | None = None) -> None:
        now = time.monotonic()
        end = float("inf") if seconds is None else now + seconds
        self.end: float = end if within is None else min(end, within.end)

    def remaining(self) -> float:
        """Return the seconds that are left, or raise `OutOfTimeError`."""
        left = self.end - time.monotonic()
        if left <= 0:
            raise OutOfTimeError
        return left

    def allows(self, pause: float) -> bool:
        """Tell whether there is time for `pause` and something after it."""
        return self.end - time.monotonic() > pause


class _Job:
    __slots__ = ("call", "done", "error", "result")

    def __init__(self, call: Callable[[], Any]) -> None:
        self.call = call
        self.done = threading.Lock()
        self.done.acquire()
        self.result: Any = None
        self.error: BaseException | None = None


class Runner:
    """Runs calls on threads of its own and waits for each no longer than it may take.

    requests' timeouts bound each read from a socket, not the call: a server that drips, a name service that
    hangs or a token endpoint that is tried again and again would outlast any deadline. A call that outlasts
    its deadline is left behind; its thread, a daemon, ends with its socket's timeout. At most `most` calls
    are under way at once.
    """

    def __init__(self, most: int = 64) -> None:
        self._slots = threading.Semaphore(most)
        self._lock = threading.Lock()
        self._idle: deque[queue.SimpleQueue[_Job | None]] = deque()

    def run(self, call: Callable[[], T], deadline: Deadline) -> T:
        """Return what `call` returns, or raise what it raises; `OutOfTimeError` at the deadline."""
        if not self._slots.acquire(timeout=min(deadline.remaining(), threading.TIMEOUT_MAX)):
            raise OutOfTimeError
        job = _Job(call)
        self._hand_over(job)
        if not job.done.acquire(timeout=min(deadline.remaining(), threading.TIMEOUT_MAX)):
            raise OutOfTimeError
        if job.error is not None:
            raise job.error
        return job.result  # type: ignore[no-any-return]  # the job's result is what `call` returned

    def close(self) -> None:
        """Let the idle threads end."""
        with self._lock:
            idle, self._idle = self._idle, deque()
        for inbox in idle:
            inbox.put(None)

    def _hand_over(self, job: _Job) -> None:
        with self._lock:
            inbox = self._idle.pop() if self._idle else None
        if inbox is None:
            inbox = queue.SimpleQueue()
            threading.Thread(target=self._work, args=(inbox,), name="strongroom-call", daemon=True).start()
        inbox.put(job)

    def _work(self, inbox: queue.SimpleQueue[_Job | None]) -> None:
        while (job := self._next(inbox)) is not None:
            try:
                job.result = job.call()
            except BaseException as error:  # noqa: BLE001  # it is raised again in the thread that asked
                job.error = error
            with self._lock:
                self._idle.append(inbox)
            self._slots.release()
            job.done.release()
            del job  # an idle thread must not keep a value alive

    def _next(self, inbox: queue.SimpleQueue[_Job | None]) -> _Job | None:
        try:
            return inbox.get(timeout=_IDLE_SECONDS)
        except queue.Empty:
            with self._lock:
                if inbox in self._idle:
                    self._idle.remove(inbox)
                    return None
        return inbox.get()  # taken from the idle ones in this very moment: a job is on its way
