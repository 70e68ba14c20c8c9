"""Threads, also in a forked process.

A fork copies one thread alone. In the child all the others are gone, the locks that they held stay locked,
and the sockets that they used are still the parent's. The owner of such a thing registers it with
`renew_after_fork`.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from strongroom.errors import BackendUnavailableError, SecretNotFoundError, of_thread
from strongroom.runtime.forks import Lock, Take, forks_wait, never_collect, renew_after_fork, start_thread

__all__ = [
    "BackgroundPool",
    "BuildLock",
    "Condition",
    "Lock",
    "SingleEntryLock",
    "Take",
    "forks_wait",
    "in_parallel",
    "never_collect",
    "of_thread",
    "present_in_parallel",
    "renew_after_fork",
    "start_thread",
]

K = TypeVar("K")
T = TypeVar("T")
_IDLE_SECONDS = 30.0


class SingleEntryLock:
    """A lock that refuses the thread that holds it; `threading.Lock` would hang forever.

    A signal handler runs in the middle of the main thread's work, so it may need a lock that only that thread
    can release, after the handler has ended. And what it raises, as on Ctrl-C or at a task's time limit, must
    not leave the lock locked: a handler runs as a function of Python begins or one of C has ended, so giving
    the lock back is one call of C.

    Args:
        what: What it protects, for the message.
    """

    __slots__ = ("__exit__", "_lock", "_what", "release")

    if TYPE_CHECKING:

        def __exit__(self, kind: object, error: object, traceback: object) -> None: ...

        def release(self) -> None:
            """Give it back."""

    def __init__(self, what: str) -> None:
        self._lock = threading.RLock()  # which knows its owner; a thread takes it only once
        self._what = what
        if not TYPE_CHECKING:
            self.__exit__, self.release = self._lock.__exit__, self._lock.release

    def __enter__(self) -> None:
        # As `acquire`, without the time for another call.
        lock = self._lock
        if lock._is_owned():  # type: ignore[attr-defined]  # noqa: SLF001  # as `Condition` asks
            raise self.refusal()
        try:
            lock.acquire()
        except BaseException:
            self._give_back()
            raise

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take it, and return whether that succeeded in time.

        Raises:
            BackendUnavailableError: This thread has it.
        """
        lock = self._lock
        if lock._is_owned():  # type: ignore[attr-defined]  # noqa: SLF001  # as above
            raise self.refusal()
        try:
            return lock.acquire(blocking, min(timeout, threading.TIMEOUT_MAX))
        except BaseException:
            self._give_back()
            raise

    def _give_back(self) -> None:
        """Release it if a handler raised just as it was had."""
        if self.is_mine():
            self._lock.release()

    def locked(self) -> bool:
        """Return whether any thread is at work under it."""
        if self.is_mine():
            return True
        try:
            free = self._lock.acquire(blocking=False)
        except BaseException:
            self._give_back()
            raise
        if free:
            self._lock.release()
        return not free

    def is_mine(self) -> bool:
        """Return whether this thread has it."""
        return bool(self._lock._is_owned())  # type: ignore[attr-defined]  # noqa: SLF001  # as `Condition` asks

    def refuse_owner(self) -> None:
        """Raise `BackendUnavailableError` if this thread has it: before work that will need it at its end."""
        if self.is_mine():
            raise self.refusal()

    def refusal(self) -> BackendUnavailableError:
        """Return the error for the thread that holds it."""
        return BackendUnavailableError(
            f"{self._what} is in use by the thread that calls it, as in a signal handler",
            hint="set a flag in the handler, and do the work outside of it",
        )


class Condition(threading.Condition):
    """A condition whose lock the thread that has it may take again, and that no signal handler leaves locked.

    A function of Python releases the lock of `threading.Condition`; see `SingleEntryLock` for why that is not
    enough.
    """

    __slots__ = ("__enter__", "__exit__")

    def __init__(self) -> None:
        lock = threading.RLock()
        super().__init__(lock)
        if not TYPE_CHECKING:
            self.__enter__, self.__exit__ = lock.__enter__, lock.__exit__


class BuildLock:
    """Lets one thread at a time build something. A fork waits for it; in a forked child the lock is free."""

    def __init__(self) -> None:
        self._begin_again()
        renew_after_fork(self, BuildLock._begin_again)

    def _begin_again(self) -> None:
        self._lock = threading.RLock()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold it for the block; the thread that has it may take it again."""
        with forks_wait(), self._lock:
            yield


def in_parallel(read: Callable[[K], T], keys: Sequence[K], most: int) -> list[T]:
    """Return what `read` returns for each of `keys`, in their order, with at most `most` reads at a time.

    Each thread has the caller's context. The first failure is raised at once, and so is an interrupt of the
    caller: reads that have not begun are dropped, and the others do not keep the process from ending.
    """
    if len(keys) <= 1 or most == 1:
        return [read(key) for key in keys]
    with forks_wait():
        from queue import SimpleQueue

    waiting = deque(enumerate(keys))
    done: SimpleQueue[tuple[int, T | None, BaseException | None]] = SimpleQueue()

    def work() -> None:
        with contextlib.suppress(IndexError):
            while True:
                at, key = waiting.popleft()
                try:
                    answer = (at, read(key), None)
                except BaseException as error:  # noqa: BLE001  # it is raised again by the caller
                    waiting.clear()
                    done.put((at, None, of_thread(error)))
                else:
                    done.put(answer)
                    del answer  # a thread that waits must not keep a value alive

    results: dict[int, Any] = {}
    try:
        if not _start(work, min(most, len(keys))):
            return [read(key) for key in keys]
        while len(results) < len(keys):
            at, result, error = done.get()
            if error is not None:
                raise error
            results[at] = result
    finally:
        waiting.clear()
    return [results[at] for at in range(len(keys))]


def _start(work: Callable[[], None], most: int) -> bool:
    """Run `work` on `most` threads, or as many as can be had; return whether there is at least one."""
    from strongroom.runtime.scopes import copied_context  # not for a single read

    context = copied_context()  # once: a block may end elsewhere as soon as the first thread is at work
    for started in range(most):
        try:
            start_thread(
                threading.Thread(
                    target=context.copy().run, args=(work,), name="strongroom-batch", daemon=True
                )
            )
        except RuntimeError:  # the interpreter is on its way out, or the machine has no more threads
            return started > 0
    return True


def present_in_parallel(
    read: Callable[[str], str],
    keys: Sequence[str],
    most: int,
    *,
    absent: frozenset[str] = frozenset({"absent"}),
) -> dict[str, str]:
    """Return the values of those of `keys` that exist, with at most `most` reads at a time.

    A key does not exist if `read` raises `SecretNotFoundError` with a reason in `absent`; the first other
    failure is raised at once.
    """

    def value(key: str) -> str | None:
        try:
            return read(key)
        except SecretNotFoundError as error:
            if error.reason not in absent:
                raise
            return None

    found = zip(keys, in_parallel(value, keys, most), strict=True)
    return {key: value for key, value in found if value is not None}


class BackgroundPool:
    """Runs calls in the background, on as few threads as possible, at most `most`; further calls queue.

    The threads are daemons, so that a call which never returns does not keep the process from ending. Idle
    threads end by themselves, and at once after `close`. A call must not raise; one that does is logged. A
    forked child has a pool without threads, and without its parent's queued calls. A signal handler that
    interrupts `start`, of whatever pool, makes its own call itself: a thread might wait for a lock that is
    free only after the handler. So does everyone while the interpreter ends, which lets no other thread run.
    """

    _starting: ClassVar[set[int]] = set()
    """The threads that are in `start` of any pool."""

    def __init__(self, most: int = 32, name: str = "strongroom-crew") -> None:
        self._most = most
        self._name = name
        self._begin_again()
        renew_after_fork(self, BackgroundPool._after_fork)

    def _after_fork(self) -> None:
        self._starting.clear()  # a new thread may have the number of one that is gone
        self._begin_again()

    def _begin_again(self) -> None:
        self._calls: deque[Callable[[], object]] = deque()
        # Its thread may take it again: in a signal handler, or as the garbage collector runs.
        self._lock = threading.RLock()
        self._asleep: deque[threading.Lock] = deque()
        """What wakes each idle thread. A condition's `notify` that is interrupted may later wake nobody."""
        self._threads = 0
        self._patience = _IDLE_SECONDS

    def close(self) -> None:
        """Let idle threads end at once, and others as soon as no call is left; `start` goes on as before."""
        with self._lock:
            self._patience = 0.0
            while self._asleep:
                wake = self._asleep.pop()
                if wake.locked():
                    wake.release()

    def start(self, call: Callable[[], object]) -> None:
        """Run `call` as soon as a thread is free, and wait for nothing.

        If this is interrupted, `call` is made no more, unless it has begun.
        """
        me = threading.get_ident()
        if me in self._starting or sys.is_finalizing():  # then idle threads do not wake up any more
            call()
            return
        self._patience = _IDLE_SECONDS
        try:
            self._starting.add(me)
            self._queue(call)
        finally:
            self._starting.discard(me)

    def _queue(self, call: Callable[[], object]) -> None:
        counted = False
        worker: threading.Thread | None = None
        try:
            with self._lock:
                self._calls.append(call)
                if self._asleep:
                    wake = self._asleep[-1]
                    if wake.locked():  # else a call woke it that was interrupted right afterwards
                        wake.release()
                    self._asleep.pop()
                    return
                if self._threads == self._most:
                    return
                self._threads += 1
                counted = True
            worker = threading.Thread(target=self._work, name=self._name, daemon=True)
            start_thread(worker)
        except BaseException as error:
            with self._lock:
                if counted and (worker is None or worker.ident is None):
                    self._threads -= 1
                mine = call in self._calls
                if mine:
                    self._calls.remove(call)
            if worker is None or not isinstance(error, RuntimeError):
                raise
            if mine:  # the interpreter is on its way out, or the machine has no more threads
                call()

    def _work(self) -> None:
        while (call := self._next()) is not None:
            try:
                call()
            except BaseException as error:  # noqa: BLE001  # the calls that wait need this thread
                import logging  # hardly ever needed

                logging.getLogger("strongroom.parallel").warning(
                    "a call in the background failed: %s", type(error).__name__
                )
            del call  # an idle thread must not keep a value alive

    def _next(self) -> Callable[[], object] | None:
        called = True
        while True:
            wake = threading.Lock()  # not below: the garbage collector may run, and start a call
            wake.acquire()
            with self._lock:
                if self._calls:
                    return self._calls.popleft()
                if not called:
                    self._threads -= 1
                    return None
                self._asleep.append(wake)
            called = wake.acquire(timeout=self._patience)
            with self._lock, contextlib.suppress(ValueError):
                self._asleep.remove(wake)
