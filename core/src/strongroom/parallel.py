"""Many reads at the same time, on a bounded number of threads."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import TypeVar

from strongroom.errors import SecretNotFoundError

__all__ = ["Crew", "in_parallel", "present_in_parallel"]

K = TypeVar("K")
T = TypeVar("T")
_IDLE_SECONDS = 30.0


def in_parallel(read: Callable[[K], T], keys: Sequence[K], most: int) -> list[T]:
    """Return what `read` gives for each of `keys`, in their order, with at most `most` reads at a time.

    The first failure is raised at once; reads that have not begun are dropped.
    """
    if len(keys) <= 1 or most == 1:
        return [read(key) for key in keys]
    pool = ThreadPoolExecutor(min(most, len(keys)), "strongroom-batch")
    try:
        reads = [pool.submit(read, key) for key in keys]
        wait(reads, return_when=FIRST_EXCEPTION)
        failures = (done.exception() for done in reads if done.done())
        failed = next((error for error in failures if error is not None), None)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    if failed is not None:
        raise failed
    return [done.result() for done in reads]


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
    idle ones end by themselves. A call must not raise.
    """

    def __init__(self, most: int = 32, name: str = "strongroom-crew") -> None:
        self._most = most
        self._name = name
        self._calls: deque[Callable[[], object]] = deque()
        self._ready = threading.Condition(threading.Lock())
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
