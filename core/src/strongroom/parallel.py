"""Many reads at the same time, on a bounded number of threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import TypeVar

__all__ = ["in_parallel"]

K = TypeVar("K")
T = TypeVar("T")


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
