"""Deadlines, and a way to keep them if a library cannot."""

from __future__ import annotations

import math
import queue
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, Generic, TypeVar

from strongroom.errors import ConfigurationError, StrongroomError, of_thread, show_key
from strongroom.runtime.forks import (
    Lock,
    forks_wait,
    never_collect,
    note_acquired,
    renew_after_fork,
    start_thread,
)

__all__ = [
    "Deadline",
    "DeadlineExceededError",
    "DeadlineExecutor",
    "SharedClient",
    "Slots",
    "check_limits",
    "held_within",
]

T = TypeVar("T")

_IDLE_SECONDS = 30.0


class DeadlineExceededError(Exception):
    """A call did not end before its deadline."""


@contextmanager
def held_within(lock: Lock, seconds: float) -> Iterator[bool]:
    """Hold `lock` during the block if it becomes free within `seconds`; the block gets whether it is held."""
    held: list[bool] = []
    try:
        note_acquired(held, lock, seconds)
        yield True in held
    finally:
        if True in held:
            lock.release()


def check_limits(provider: str, *, counts: Mapping[str, int], **seconds: float | None) -> None:
    """Refuse limits that make no sense, as a backend's constructor is given them.

    Args:
        provider: The type name.
        counts: Limits that must be 1 or more, by name.
        **seconds: Limits that must be more than 0 and finite; None means no limit.

    Raises:
        ConfigurationError: One of them is not.
    """
    for name, limit in seconds.items():
        if limit is not None and not (_is_number(limit) and math.isfinite(limit) and limit > 0):
            raise _bad_limit(provider, f"{name} must be more than 0 seconds", limit)
    for name, count in counts.items():
        if not isinstance(count, int) or count < 1:
            raise _bad_limit(provider, f"{name} must be 1 or more", count)


def _bad_limit(provider: str, said: str, limit: object) -> ConfigurationError:
    got = str(limit) if _is_number(limit) else show_key(limit)
    return ConfigurationError(f"{provider}: {said}, got {got}", provider=provider)


def _is_number(limit: object) -> bool:
    return isinstance(limit, (int, float)) and not isinstance(limit, bool)


class Deadline:
    """The time before which a call, with all its retries, must end."""

    __slots__ = ("end",)

    def __init__(self, seconds: float | None, within: Deadline | None = None) -> None:
        now = time.monotonic()
        end = float("inf") if seconds is None else now + seconds
        self.end: float = end if within is None else min(end, within.end)

    def remaining(self) -> float:
        """Return the seconds that are left, or raise `DeadlineExceededError`."""
        left = self.end - time.monotonic()
        if left <= 0:
            raise DeadlineExceededError
        return left

    def allows(self, pause: float) -> bool:
        """Return whether there is time for `pause` and something after it."""
        return self.end - time.monotonic() > pause


class Slots:
    """Lets so many calls run at once, and the others wait.

    Unlike a semaphore it has no lock: a signal handler may take a slot while the thread that it interrupts is
    in here.
    """

    def __init__(self, most: int) -> None:
        self._free: queue.SimpleQueue[None] = queue.SimpleQueue()
        for _ in range(most):
            self._free.put(None)

    def take(self, deadline: Deadline) -> None:
        """Take a slot, or raise `DeadlineExceededError`."""
        taken: list[None] = []
        try:
            # One call of C takes it and notes it; see `note_acquired`.
            patience = min(deadline.remaining(), threading.TIMEOUT_MAX)
            taken.extend(map(self._free.get, (True,), (patience,)))
        except queue.Empty:
            raise DeadlineExceededError from None
        except BaseException:
            if taken:
                self.give_back()
            raise

    def give_back(self) -> None:
        """Let the next call have the slot."""
        self._free.put(None)


class _Job:
    __slots__ = (
        "begun", "call", "discard", "done", "error", "launched", "result", "settled", "slots",
    )  # fmt: skip

    def __init__(
        self, call: Callable[[], Any], slots: Slots, discard: Callable[[Any], object] | None
    ) -> None:
        self.call = call
        self.slots = slots
        self.discard = discard
        self.launched = False
        """Whether a thread has it for sure."""
        self.begun = threading.Lock()
        """Taken by the first of `run` and `abandon`: a call that was abandoned before is not made."""
        self.settled = threading.Lock()
        """Taken by the first of `end` and `abandon`: the second of them discards the result."""
        self.done = threading.Lock()
        self.done.acquire()
        self.result: Any = None
        self.error: BaseException | None = None

    def run(self) -> bool:
        """Make the call and keep what comes of it; return whether it was still to be made."""
        if not self.begun.acquire(blocking=False):
            return False
        try:
            self.result = self.call()
        except BaseException as error:  # noqa: BLE001  # it is raised again in the thread that asked
            self.error = of_thread(error)
        return True

    def end(self) -> None:
        """Free the slot for the next call, and wake the thread that waits for this one."""
        self.slots.give_back()
        self.done.release()
        self._settle()

    def abandon(self) -> None:
        """Say that nobody takes the result: it is discarded, now or as soon as there is one."""
        if self.begun.acquire(blocking=False):  # even if a thread has it, which has not come to it
            self.slots.give_back()
        else:
            self._settle()

    def _settle(self) -> None:
        if self.settled.acquire(blocking=False) or self.discard is None or self.error is not None:
            return
        with suppress(Exception):  # a connection that cannot be closed; the thread has other calls to make
            self.discard(self.result)


class DeadlineExecutor:
    """Runs calls on its own threads, and waits for each no longer than it may take.

    The timeouts of requests limit each read from a socket, not the call: a server that answers byte by byte,
    a name service that hangs or a token endpoint that is tried again and again would outlast any deadline. A
    call that outlasts its deadline is abandoned; its thread, a daemon, ends with its socket's timeout. At
    most `most` calls run at once. A forked child has a runner without threads.
    """

    def __init__(self, most: int = 64) -> None:
        self._most = most
        self._begin_again()
        renew_after_fork(self, DeadlineExecutor._begin_again)

    def _begin_again(self) -> None:
        # No locks: a signal handler may call while the thread that it interrupts is in here.
        self._slots = Slots(self._most)
        self._idle: deque[queue.SimpleQueue[_Job | None]] = deque()

    def run(
        self, call: Callable[[], T], deadline: Deadline, discard: Callable[[T], object] | None = None
    ) -> T:
        """Return what `call` returns, or raise what it raises; `DeadlineExceededError` at the deadline.

        Args:
            call: What is to be done.
            deadline: Until when this waits.
            discard: Called with what an abandoned call returns in the end, such as a connection to be closed;
                what it raises is ignored.
        """
        job = _Job(call, self._slots, discard)
        in_time = False
        job.slots.take(deadline)
        try:
            self._hand_over(job)
            in_time = job.done.acquire(timeout=min(deadline.remaining(), threading.TIMEOUT_MAX))
        finally:
            if not in_time:
                job.abandon()
        if not in_time:
            raise DeadlineExceededError
        if job.error is not None:
            raise job.error
        return job.result  # type: ignore[no-any-return]  # the job's result is what `call` returned

    def close(self) -> None:
        """Let the idle threads end."""
        with suppress(IndexError):
            while True:
                self._idle.pop().put(None)

    def _hand_over(self, job: _Job) -> None:
        idle: list[queue.SimpleQueue[_Job | None]] = []
        if sys.is_finalizing():  # idle threads do not wake up any more
            self._launch(job)
            return
        try:
            idle.extend(map(deque.pop, (self._idle,)))  # in one call, as in `note_acquired`
            job.launched = True
            idle[0].put(job)
        except IndexError:
            self._launch(job)
        except BaseException:
            if not job.launched:
                self._idle.extend(idle)
            raise

    def _launch(self, job: _Job) -> None:
        inbox: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        # Before the start, which waits: after an interrupt of that, no job would ever come.
        inbox.put(job)
        worker = threading.Thread(target=self._work, args=(inbox,), name="strongroom-call", daemon=True)
        try:
            start_thread(worker)
        except RuntimeError:  # the interpreter is on its way out, or the machine has no more threads
            if job.run():
                job.end()
        finally:
            job.launched = worker.ident is not None

    def _work(self, inbox: queue.SimpleQueue[_Job | None]) -> None:
        idle = self._idle
        while (job := self._next(inbox, idle)) is not None:
            made = job.run()
            idle.append(inbox)
            if made:
                job.end()
            del job  # an idle thread must not keep a value alive

    @staticmethod
    def _next(
        inbox: queue.SimpleQueue[_Job | None], idle: deque[queue.SimpleQueue[_Job | None]]
    ) -> _Job | None:
        try:
            return inbox.get(timeout=_IDLE_SECONDS)
        except queue.Empty:
            with suppress(ValueError):
                idle.remove(inbox)
                return None
        return inbox.get()  # taken from the idle ones in this very moment: a job is on its way


class SharedClient(ABC, Generic[T]):
    """Holds the client that a provider's threads share; the first call makes it, once, within its deadline.

    Args:
        timeout: Seconds for one operation.
        deadline: Seconds for a whole list or batch; None: no limit.
    """

    def __init__(self, timeout: float, deadline: float | None) -> None:
        self._timeout, self._whole = timeout, deadline
        self._runner = DeadlineExecutor()
        self._lock = threading.Lock()
        self._service: T | None = None
        self._opened = ExitStack()
        renew_after_fork(self, type(self).leave)

    @abstractmethod
    def load(self) -> None:
        """Import what `make` needs: that takes this machine's time, so no deadline counts it."""

    @abstractmethod
    def make(self, opened: ExitStack) -> T:
        """Return the client; what `close` has to close is pushed on `opened`."""

    @abstractmethod
    def translate(self, error: Exception) -> StrongroomError:
        """Return strongroom's error for what `make` raised, or for a deadline that it outlasted."""

    def start(self) -> tuple[T, Deadline]:
        """Return the client, and the deadline of the one operation that begins now."""
        service = self._service
        if service is not None:
            return service, Deadline(self._timeout)
        with forks_wait():
            self.load()
        deadline = Deadline(self._timeout)
        try:
            # On another thread, as the search for a login may ask a server that does not answer.
            return self._runner.run(self._get_or_make, deadline), deadline
        except StrongroomError:
            raise
        except Exception as error:  # noqa: BLE001  # whatever an SDK raises as it is set up
            failed = error
        raise self.translate(failed)

    def start_batch(self) -> tuple[T, Deadline]:
        """Return the client, and the deadline of a list or batch that begins now."""
        whole = Deadline(self._whole)
        return self.start()[0], whole

    def next_deadline(self, whole: Deadline) -> Deadline:
        """Return the deadline of one request of a list or batch."""
        return Deadline(self._timeout, whole)

    def close(self) -> None:
        """Close what `make` opened; a later call makes it again."""
        opened = ExitStack()
        with held_within(self._lock, self._timeout) as held:
            if held:  # else the client is being made, by an SDK that hangs
                self._service = None
                opened = self._opened.pop_all()
        with opened:
            self._runner.close()

    def _get_or_make(self) -> T:
        with self._lock:
            if self._service is None:
                with forks_wait(), ExitStack() as opened:
                    self._service = self.make(opened)
                    self._opened = opened.pop_all()
            return self._service

    def leave(self) -> None:
        """Leave the client to the parent of a forked child; the next call makes another one."""
        never_collect(self._service, self._opened)
        self._service = None
        self._opened = ExitStack()
        self._lock = threading.Lock()
