"""Forks of a process whose threads are in the middle of reads, for the plugins' tests."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from strongroom.testing.conformance.forks import Children

__all__ = ["crossing"]

_PATIENCE_SECONDS = 240


def crossing(read: Callable[[int], object], values: Sequence[object], *, rounds: int, reads: int) -> int:
    """Fork while three threads read; read at once in the parent and in as many children as there are other values.

    The parent has connections that nobody uses at the fork as well: those that a child would take first.

    Args:
        read: Reads the value of a number.
        values: What each number has to read; the first is the parent's.
        rounds: How often to fork all the children.
        reads: How many times each reads then.

    Returns:
        How many reads of children and parent were right.

    Raises:
        AssertionError: One of the threads' reads was wrong or failed, or a child hangs or failed.
    """
    ended, begun, wrong = threading.Event(), threading.Semaphore(0), []

    def count(number: int, times: int) -> int:
        return sum(read(number) == values[number] for _ in range(times))

    def go_on() -> None:
        while not ended.is_set():
            try:
                if not count(0, 1):
                    wrong.append("another value")
            except Exception as error:
                wrong.append(f"{type(error).__name__}: {error}")
            begun.release()

    with ThreadPoolExecutor(len(values)) as burst:
        together = threading.Barrier(len(values))
        assert all(burst.map(lambda _: together.wait(_PATIENCE_SECONDS) >= 0 and count(0, 1), values))
    threads = [threading.Thread(target=go_on, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    right = 0
    try:
        for _ in range(rounds):
            for _ in threads:
                assert begun.acquire(timeout=_PATIENCE_SECONDS), "the parent's threads hang"
            own: list[int] = []
            children = Children(len(values) - 1, lambda number: count(number, reads))
            right += sum(children.results(meanwhile=lambda: own.append(count(0, reads)))) + own[0]  # noqa: B023  # called at once
    finally:
        ended.set()
        for thread in threads:
            thread.join(_PATIENCE_SECONDS)
    assert wrong == []
    return right
