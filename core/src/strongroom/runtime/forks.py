"""Threads, locks and connections in a forked process; public in `strongroom.parallel`.

A fork copies one thread alone. In the child all the others are gone, the locks that they held stay locked,
and the sockets that they used are still the parent's. The owner of such a thing registers it with
`renew_after_fork`.
"""

from __future__ import annotations

import importlib
import itertools
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

__all__ = [
    "Lock", "Take", "fork_aside", "forks_wait", "never_collect", "note_acquired", "renew_after_fork",
    "start_thread",
]  # fmt: skip

T = TypeVar("T")
_LONGEST_WAIT: Final = 10.0
"""Seconds that a fork is held up at most: the default deadline of one call."""
_LONGEST_GATE: Final = 1.0
"""Seconds that a build waits for a fork that is under way."""


class Lock(Protocol):
    """The argument of a `Take`: any lock of `threading`."""

    def acquire(self, blocking: bool = ..., timeout: float = ...) -> bool: ...
    def release(self) -> None: ...


Take = Callable[[Lock], bool]
"""Takes a lock until the fork is over, and returns whether it got it before the fork had to go on."""


if TYPE_CHECKING:
    _Owner = tuple[weakref.ref[Any], Callable[[Any], object], Callable[[Any, Take], object] | None]
    """The object, how its state is renewed in a child, and how it is brought to rest before a fork."""

_numbers = itertools.count()
_owners: dict[int, _Owner] = {}
_builds: dict[int, _Build] = {}
_taken: dict[int, list[Lock]] = {}
_aside: set[int] = set()
"""Threads that make a fork in which no owner is used."""
_gate: Lock = threading.RLock()


class _Build:
    __slots__ = ("running", "thread")

    def __init__(self, thread: int) -> None:
        self.thread = thread
        self.running = threading.Lock()
        self.running.acquire()


def renew_after_fork(
    owner: T,
    renew: Callable[[T], object],
    *,
    rest: Callable[[T, Take], object] | None = None,
) -> None:
    """Call `renew(owner)` in every child that is forked while `owner` lives.

    The child has no other thread then. Owners are called in the order in which they were registered, so that
    the parts of an owner are renewed before it; an error of one does not affect the others. The reference to
    `owner` is weak.

    `renew` replaces threads, locks and connections. It must not close connections, since they are the
    parent's: `never_collect` keeps them open. If a lock is still locked, a thread that is gone held it, and
    what the lock protects may be half-changed.

    Args:
        owner: The object that has the threads, locks or connections.
        renew: A function that takes the owner, such as a method of its class, unbound.
        rest: Called in the parent before the fork, with the owner and a function that takes a lock until the
            fork is over: for work that must not be half-done at a fork. It must not raise.
    """
    number = next(_numbers)
    renew = getattr(renew, "__func__", renew)  # a bound method would keep its owner alive
    _owners[number] = (weakref.ref(owner, partial(_forget, _owners, number)), renew, rest)


def _forget(owners: dict[int, _Owner], number: int, _: object) -> None:
    owners.pop(number, None)


@contextmanager
def forks_wait() -> Iterator[None]:
    """Let a fork in another thread wait until the block has ended, ten seconds at most.

    For imports, and for building what a child could not build again: Python's import locks do not survive a
    fork.
    """
    me, number, gate = threading.get_ident(), next(_numbers), _gate
    build = _Build(me)
    # A fork holds the gate while it waits for builds and while it is made. A build within a build of this
    # thread passes it by: the fork waits for this thread.
    nested = any(one.thread == me for one in list(_builds.values()))
    entered: list[bool] = []
    try:
        try:
            if not nested:
                note_acquired(entered, gate, _LONGEST_GATE)
            _builds[number] = build
        finally:
            if True in entered:
                gate.release()
        yield
    finally:
        _builds.pop(number, None)
        build.running.release()


def note_acquired(taken: list[bool], lock: Lock, seconds: float) -> None:
    """Append to `taken` whether `lock` became free within `seconds`, and was acquired.

    A signal handler runs when a call of C has ended, so that what it raises could get in between the lock and
    a variable. Here one call acquires the lock and notes it, for the caller to give it back.
    """
    taken.extend(map(lock.acquire, (True,), (min(seconds, threading.TIMEOUT_MAX),)))


def never_collect(*things: object) -> None:
    """Keep a forked child from closing its parent's connections and files, even by garbage collection.

    Closing one could end the parent's connection, by a closing message of TLS or HTTP/2, or release file
    locks. So it is kept even beyond the end of the interpreter.
    """
    held = [thing for thing in things if thing is not None]
    if held:
        import ctypes

        for thing in held:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


def fork_aside() -> int:
    """Fork a process that uses no registered owner: one that only waits, or becomes a program.

    To renew owners in such a process would copy hundreds of the parent's pages for nothing.

    Returns:
        0 in the child, and the number of its process in the parent, as `os.fork`.
    """
    me = threading.get_ident()
    _aside.add(me)
    try:
        return os.fork()
    finally:
        _aside.discard(me)


def _before() -> None:
    """Wait for builds, and bring to rest what must not be met half-done."""
    if threading.get_ident() in _aside:
        return
    end = time.monotonic() + _LONGEST_WAIT
    taken = _taken[threading.get_ident()] = []

    def take(lock: Lock) -> bool:
        try:
            acquired = lock.acquire(timeout=max(end - time.monotonic(), 0.0))
        except Exception:  # noqa: BLE001  # a `SingleEntryLock` refuses the thread that forks while it has it
            return False
        if acquired:
            taken.append(lock)
        return acquired

    if threading.active_count() > 1:
        # `never_collect` needs it; where another thread is in an import, the child could not import it.
        import ctypes  # noqa: F401  # so that it is loaded

    # First the builds under way; then once more with the gate closed: otherwise a thread that builds again
    # and again would always begin the next one before the fork had its turn.
    if _wait_for_builds(end) and take(_gate):
        while _others_build() and _wait_for_builds(end):
            pass
    _bring_to_rest(take, end)


def _bring_to_rest(take: Take, end: float) -> None:
    rested: set[int] = set()
    # Another thread may register one meanwhile, if an owner took long to come to rest.
    while fresh := [one for one in list(_owners.items()) if one[0] not in rested]:
        for number, (owner, _, rest) in fresh:
            rested.add(number)
            owned = owner() if rest is not None else None
            if rest is not None and owned is not None:
                rest(owned, take)
        if time.monotonic() > end:
            return


def _others_build() -> list[_Build]:
    me = threading.get_ident()
    return [build for build in list(_builds.values()) if build.thread != me]


def _wait_for_builds(end: float) -> bool:
    """Return whether all builds of other threads ended in time."""
    return all(_has_ended(build, max(end - time.monotonic(), 0.0)) for build in _others_build())


def _has_ended(build: _Build, seconds: float) -> bool:
    """Return whether `build` ends within `seconds`."""
    ended = build.running.acquire(timeout=seconds)
    if ended:
        build.running.release()  # for other forks that wait for it
    return ended


def _let_go() -> None:
    for lock in reversed(_taken.pop(threading.get_ident(), [])):
        lock.release()


def _in_child() -> None:
    global _gate  # noqa: PLW0603  # another thread may have held it
    if threading.get_ident() in _aside:
        return
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


def _register_with_uwsgi() -> None:
    """Register for the forks of uWSGI, which forks in C and calls no handler of Python's."""
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
_register_with_uwsgi()


def start_thread(thread: threading.Thread) -> None:
    """Start `thread`.

    Raises:
        RuntimeError: The machine has no more threads, or the interpreter is ending and lets none run: Python
            3.11 itself would wait for the new one forever.
    """
    if sys.is_finalizing():
        raise RuntimeError("no thread can be started: the interpreter is ending")
    thread.start()
