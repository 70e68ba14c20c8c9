"""The kit's tests of forked processes."""

from __future__ import annotations

import functools
import gc
import json
import os
import select
import signal
import threading
import time
import warnings
from collections.abc import Callable, Generator, Iterable
from typing import Any

import pytest

from strongroom.providers import BatchReader
from strongroom.testing.conformance.base import ConformanceBase, only_where

__all__ = ["Children", "ForkTests"]

_LONGEST_SECONDS = 120.0


class Children:
    """Forked processes that begin together, and return results as JSON.

    Args:
        count: How many.
        work: Called in each, with its number from 1.
    """

    def __init__(self, count: int, work: Callable[[int], Any]) -> None:
        ready, self._go = os.pipe()
        self._answers: dict[int, int] = {}
        for number in range(1, count + 1):
            reading, writing = os.pipe()
            child = _fork()
            if child == 0:
                os.close(self._go)
                os.read(ready, 1)  # until the parent closes its end
                _report(writing, work, number)
            os.close(writing)
            self._answers[child] = reading
        os.close(ready)

    def results(self, meanwhile: Callable[[], Any] = lambda: None) -> list[Any]:
        """Let all begin, call `meanwhile` in this process, and return what each child's work returned.

        An error in a child is raised here as an `AssertionError` with its text; a child that does not end is
        killed after two minutes, which is an error as well.
        """
        os.close(self._go)
        end = time.monotonic() + _LONGEST_SECONDS
        answers = []
        try:
            meanwhile()
        finally:
            for child, reading in self._answers.items():
                answers.append(_answer(reading, end))
                if answers[-1] is None:
                    os.kill(child, signal.SIGKILL)
                os.close(reading)
                os.waitpid(child, 0)
        results = []
        for found in answers:
            assert found is not None, "a forked child hangs, or ended without a word"
            assert "error" not in found, f"in a forked child: {found['error']}"
            results.append(found["result"])
        return results


def _fork() -> int:
    with warnings.catch_warnings():
        # Python warns of forks in a process with threads. That they work is what is tested here.
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def _report(writing: int, work: Callable[[int], Any], number: int) -> None:
    """Do a child's work, write its result, and end without the parent's exit handlers."""
    try:
        report = json.dumps({"result": work(number)})
        if number == 1:  # one is enough, as it looks through, and so copies, all the memory of the parent
            gc.collect()
    except BaseException as error:  # noqa: BLE001  # it is raised again in the parent
        report = json.dumps({"error": f"{type(error).__name__}: {error}"})
    data = report.encode()
    while data:
        data = data[os.write(writing, data) :]
    os._exit(0)


def _answer(reading: int, end: float) -> dict[str, Any] | None:
    data = b""
    while True:
        if not select.select([reading], [], [], max(end - time.monotonic(), 0))[0]:
            return None
        part = os.read(reading, 65536)
        if not part:
            return json.loads(data) if data else None
        data += part


@functools.cache
def _others_froze() -> bool:
    """Return whether anything was frozen before the kit froze; Python counts each object."""
    return gc.get_freeze_count() > 0


_only_where_forks_are_survived = only_where(
    lambda kit: (
        None
        if kit.survives_forks is True
        else f"the backend's library does not survive a fork: {kit.survives_forks}"
    )
)
_of_what_is_new = pytest.mark.usefixtures("little_garbage")


class ForkTests(ConformanceBase):
    """A forked child has connections, threads and locks of its own, and its parent keeps its own."""

    @pytest.fixture
    def little_garbage(self) -> Generator[None]:
        """Keep older objects than the provider out of a child's garbage collection, which copies them."""
        others_froze = _others_froze()
        gc.collect(1)
        gc.freeze()
        yield
        if not others_froze:
            gc.unfreeze()

    @_only_where_forks_are_survived
    @_of_what_is_new
    def test_children_read_what_they_ask_for(self, provider: Any) -> None:
        """Parent and children read at the same time after a read before the fork; each gets its own value."""
        values = {f"fork/{number}": f"value of {number}" for number in range(4)}
        self.put(provider, values)
        assert provider.get_secret("fork/0") == values["fork/0"]

        def work(number: int) -> list[str]:
            key = f"fork/{number}"
            found = [provider.get_secret(key) for _ in range(4)]
            if isinstance(provider, BatchReader):
                found += provider.get_secrets([key]).values()
            return found

        own: list[str] = []
        read = Children(3, work).results(meanwhile=lambda: own.extend(work(0)))
        assert [set(answers) for answers in (own, *read)] == [{value} for value in values.values()]
        # The children have ended without closing the parent's connections.
        assert work(0) == own

    @_only_where_forks_are_survived
    @_of_what_is_new
    def test_a_fork_while_threads_read(self, provider: Any) -> None:
        """A fork in the middle of other threads' calls leaves the child free, and the threads undisturbed."""
        self.put(provider, {"fork/0": "value of 0", "fork/1": "value of 1"})
        forked = threading.Event()
        begun = threading.Semaphore(0)
        answers: list[set[str]] = []

        def read() -> None:
            mine = set()
            while not forked.is_set():
                mine.add(provider.get_secret("fork/0"))
                begun.release()
            answers.append(mine | {provider.get_secret("fork/0") for _ in range(3)})

        def work(_: int) -> Iterable[str]:
            return sorted({provider.get_secret("fork/1") for _ in range(3)})

        threads = [threading.Thread(target=read, daemon=True) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            for _ in threads:
                assert begun.acquire(timeout=_LONGEST_SECONDS)
            assert Children(2, work).results(meanwhile=forked.set) == [["value of 1"]] * 2
        finally:
            forked.set()
            for thread in threads:
                thread.join(_LONGEST_SECONDS)
        assert answers == [{"value of 0"}] * 3

    @_only_where_forks_are_survived
    @_of_what_is_new
    def test_a_child_writes_while_threads_write(self, provider: Any) -> None:
        """A fork in the middle of another thread's writes does not keep the child from writing."""
        self.put(provider, {"fork/0": "value of 0"})
        forked, begun = threading.Event(), threading.Event()

        def write() -> None:
            while not forked.is_set():
                provider.set_secret("fork/0", "value of 0")
                begun.set()
            provider.set_secret("fork/0", "value of 0")

        def work(number: int) -> str:
            key, value = f"fork/{number}", f"value of {number}"
            provider.set_secret(key, value)
            self.settle()
            return str(provider.get_secret(key))

        thread = threading.Thread(target=write, daemon=True)
        thread.start()
        try:
            assert begun.wait(_LONGEST_SECONDS)
            assert Children(2, work).results(meanwhile=forked.set) == ["value of 1", "value of 2"]
        finally:
            forked.set()
            thread.join(_LONGEST_SECONDS)
        assert provider.get_secret("fork/0") == "value of 0"
