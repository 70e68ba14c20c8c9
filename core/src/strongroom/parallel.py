"""Threads, and what becomes of them in a forked process.

A fork copies one thread alone. In the child all the others are gone, the locks that they held stay locked,
and the sockets that they used are still the parent's. Whoever holds such a thing registers with
`renew_after_fork`.
"""

from __future__ import annotations

import contextlib
import importlib
import itertools
import os
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import copy_context
from functools import partial
from queue import SimpleQueue
from typing import Any, Final, NamedTuple, Protocol, TypeVar

from strongroom.errors import BackendUnavailableError, SecretNotFoundError

__all__ = [
    "BuildLock",
    "Crew",
    "SingleEntryLock",
    "Take",
    "forks_wait",
    "in_parallel",
    "never_collect",
    "present_in_parallel",
    "renew_after_fork",
]

K = TypeVar("K")
T = TypeVar("T")
_IDLE_SECONDS = 30.0
_LONGEST_WAIT: Final = 10.0
"""Seconds that a fork is held up at most: the default deadline of one call."""
_LONGEST_GATE: Final = 1.0


class Lock(Protocol):
    """What `Take` takes: any lock of `threading`."""

    def acquire(self, blocking: bool = ..., timeout: float = ...) -> bool: ...
    def release(self) -> None: ...


Take = Callable[[Lock], bool]
"""Takes a lock until the fork is over; tells whether that succeeded before the fork can wait no longer."""


class _Owner(NamedTuple):
    owner: weakref.ref[Any]
    renew: Callable[[Any], object]
    rest: Callable[[Any, Take], object] | None


# --- forks ---

_numbers = itertools.count()
_owners: dict[int, _Owner] = {}
_builds: dict[int, _Build] = {}
_taken: dict[int, list[Lock]] = {}
_gate: Lock = threading.RLock()


class _Build:
    __slots__ = ("ended", "thread")

    def __init__(self, thread: int) -> None:
        self.thread = thread
        self.ended = threading.Event()


def renew_after_fork(
    owner: T,
    renew: Callable[[T], object],
    *,
    rest: Callable[[T, Take], object] | None = None,
) -> None:
    """Call `renew(owner)` in every child that is forked while `owner` lives.

    The child has no other thread then. Owners are called in the order in which they were registered, so that
    what an owner was made of is renewed before it; an error of one does not keep the others from that.
    `owner` is referred to weakly.

    `renew` replaces threads, locks and connections. It must not close connections, for they are the
    parent's: `never_collect` keeps them open. A lock that is still locked then was held by a thread that is
    gone, so that what it guards may be half-changed.

    Args:
        owner: Whose method it is.
        renew: A function of the owner: a method as it stands in the class.
        rest: Called in the parent before the fork with the owner and a function that takes a lock until the
            fork is over: for what a fork must not meet half-done. It must not raise.
    """
    number = next(_numbers)
    renew = getattr(renew, "__func__", renew)  # a bound method would keep its owner alive
    _owners[number] = _Owner(weakref.ref(owner, partial(_forget, _owners, number)), renew, rest)


def _forget(owners: dict[int, _Owner], number: int, _: object) -> None:
    owners.pop(number, None)


@contextmanager
def forks_wait() -> Iterator[None]:
    """Let a fork in another thread wait until the block has ended, ten seconds at most.

    For imports and for building what a child could not do over: Python's import locks do not survive a fork.
    """
    me, number, gate = threading.get_ident(), next(_numbers), _gate
    build = _Build(me)
    # Held while a fork is made, and while it waits: for this thread, where it builds within a build.
    nested = any(one.thread == me for one in list(_builds.values()))
    entered = not nested and gate.acquire(timeout=_LONGEST_GATE)
    _builds[number] = build
    if entered:
        gate.release()
    try:
        yield
    finally:
        _builds.pop(number, None)
        build.ended.set()


def never_collect(*things: object) -> None:
    """Keep what a forked child has of its parent from being closed, by the garbage collector as well.

    Closing it could end the parent's connection: by a good-bye of TLS or HTTP/2, or by giving up file locks.
    So it is kept past the end of the interpreter, too.
    """
    held = [thing for thing in things if thing is not None]
    if held:
        import ctypes

        for thing in held:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


def _before() -> None:
    """Wait for builds, and bring to rest what must not be met half-done."""
    end = time.monotonic() + _LONGEST_WAIT
    taken = _taken[threading.get_ident()] = []

    def take(lock: Lock) -> bool:
        try:
            found = lock.acquire(timeout=max(end - time.monotonic(), 0.0))
        except BackendUnavailableError:  # a `SingleEntryLock`: this thread forks while it has it
            return False
        if found:
            taken.append(lock)
        return found

    import ctypes  # noqa: F401  # `never_collect` needs it, and in the child an import may find no way

    # What is under way first; then behind the closed gate, which a thread that builds again and again would
    # else always pass again before a fork had its turn.
    if _wait_for_builds(end) and take(_gate):
        while _others_build() and _wait_for_builds(end):
            pass
    for owner, _, rest in list(_owners.values()):
        found = owner() if rest is not None else None
        if rest is not None and found is not None:
            rest(found, take)


def _others_build() -> list[_Build]:
    me = threading.get_ident()
    return [build for build in list(_builds.values()) if build.thread != me]


def _wait_for_builds(end: float) -> bool:
    """Tell whether all builds of other threads ended in time."""
    return all(build.ended.wait(max(end - time.monotonic(), 0.0)) for build in _others_build())


def _let_go() -> None:
    for lock in reversed(_taken.pop(threading.get_ident(), [])):
        lock.release()


def _in_child() -> None:
    global _gate  # noqa: PLW0603  # another thread may have held it
    _let_go()
    _gate = threading.RLock()
    _taken.clear()
    _builds.clear()
    failed: Exception | None = None
    for owner, renew, _ in list(_owners.values()):
        found = owner()
        try:
            if found is not None:
                renew(found)
        except Exception as error:  # noqa: BLE001  # the others must be renewed too; it is raised below
            failed = failed or error
    if failed is not None:
        raise failed


def _hear_of_uwsgi() -> None:
    """Hear of the forks of uWSGI, which forks in C and runs no handler of Python's unless it is told to."""
    uwsgi: Any = sys.modules.get("uwsgi")
    if uwsgi is None:
        return
    try:
        uwsgidecorators: Any = importlib.import_module("uwsgidecorators")
    except Exception:  # noqa: BLE001  # there is none, or it asks for a master process
        uwsgi.post_fork_hook = _in_child
    else:
        uwsgidecorators.postfork(_in_child)


os.register_at_fork(before=_before, after_in_parent=_let_go, after_in_child=_in_child)
_hear_of_uwsgi()


# --- locks ---


class SingleEntryLock:
    """A lock that refuses the thread that holds it, where `threading.Lock` would hang for ever.

    A signal handler runs in the middle of whatever the main thread is doing, so that it may meet a lock which
    only that thread, once the handler has ended, can give back.

    Args:
        what: What it guards, for the message.
    """

    __slots__ = ("_holder", "_lock", "_what")

    def __init__(self, what: str) -> None:
        # It can be taken again, so that a handler which comes between the next two lines finds a way as well.
        self._lock = threading.RLock()
        self._holder = 0
        self._what = what

    def __enter__(self) -> None:
        self._lock.acquire()
        self._enter()

    def __exit__(self, *_: object) -> None:
        self._holder = 0
        self._lock.release()

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take it, and tell whether that succeeded in time."""
        taken = self._lock.acquire(blocking, timeout)
        if taken:
            self._enter()
        return taken

    def release(self) -> None:
        """Give it back."""
        self.__exit__()

    def locked(self) -> bool:
        """Tell whether any thread is at work under it."""
        return self._holder != 0

    def is_mine(self) -> bool:
        """Tell whether this thread is at work under it."""
        return self._holder == threading.get_ident()

    def _enter(self) -> None:
        if self._holder:
            self._lock.release()
            raise self.refusal()
        self._holder = threading.get_ident()

    def refusal(self) -> BackendUnavailableError:
        """Return the error for the thread that holds it."""
        return BackendUnavailableError(
            f"{self._what} is in use by the very thread that calls it: this is a signal handler, or the like",
            hint="set a flag in the handler, and do the work outside of it",
        )


class BuildLock:
    """Lets one thread at a time build something. A fork waits for it; a forked child has the lock free."""

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


# --- threads ---


def in_parallel(read: Callable[[K], T], keys: Sequence[K], most: int) -> list[T]:
    """Return what `read` gives for each of `keys`, in their order, with at most `most` reads at a time.

    Each thread has the caller's context. The first failure is raised at once, as is an interrupt of the
    caller: reads that have not begun are dropped, and the others keep nobody from ending the process.
    """
    if len(keys) <= 1 or most == 1:
        return [read(key) for key in keys]
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
                    done.put((at, None, error))
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
    """Run `work` on so many threads; tell whether there is at least one."""
    for started in range(most):
        try:
            threading.Thread(
                target=copy_context().run, args=(work,), name="strongroom-batch", daemon=True
            ).start()
        except RuntimeError:  # the interpreter is on its way out, or the machine has no more threads
            return started > 0
    return True


def present_in_parallel(read: Callable[[str], str], keys: Sequence[str], most: int) -> dict[str, str]:
    """Return the values of those of `keys` that are there, with at most `most` reads at a time.

    A key is not there where `read` raises `SecretNotFoundError` with the reason `absent`; the first other
    failure is raised at once.
    """

    def value(key: str) -> str | None:
        try:
            return read(key)
        except SecretNotFoundError as error:
            if error.reason != "absent":
                raise
            return None

    found = zip(keys, in_parallel(value, keys, most), strict=True)
    return {key: value for key, value in found if value is not None}


class Crew:
    """Runs calls in the background, on as few threads as do and never more than `most`; the others queue.

    The threads are daemons, so that a call which never returns does not keep the process from ending, and
    idle ones end by themselves. A call must not raise. A forked child has a crew without threads, and without
    the calls that its parent still had to do.
    """

    def __init__(self, most: int = 32, name: str = "strongroom-crew") -> None:
        self._most = most
        self._name = name
        self._begin_again()
        renew_after_fork(self, Crew._begin_again)

    def _begin_again(self) -> None:
        self._calls: deque[Callable[[], object]] = deque()
        # Its lock can be taken again by the thread that has it: by a signal handler.
        self._ready = threading.Condition()
        self._idle = 0
        self._threads = 0

    def start(self, call: Callable[[], object]) -> None:
        """Run `call` as soon as a thread is free, and wait for nothing."""
        with self._ready:
            self._calls.append(call)
            if self._idle >= len(self._calls):
                self._ready.notify()
                return
            if self._threads == self._most:
                return
            self._threads += 1
        try:
            threading.Thread(target=self._work, name=self._name, daemon=True).start()
        except RuntimeError:  # the interpreter is on its way out, or the machine has no more threads
            with self._ready:
                self._threads -= 1
                mine = self._calls.pop() if self._calls else None
            if mine is not None:
                mine()

    def _work(self) -> None:
        while (call := self._next()) is not None:
            call()
            del call  # an idle thread must not keep a value alive

    def _next(self) -> Callable[[], object] | None:
        with self._ready:
            while not self._calls:
                self._idle += 1
                called = self._ready.wait(_IDLE_SECONDS)
                self._idle -= 1
                if not called and not self._calls:
                    self._threads -= 1
                    return None
            return self._calls.popleft()
