"""What a cache counts."""

from __future__ import annotations

from strongroom.runtime.frozen import frozen

__all__ = ["CacheStats"]


@frozen
class CacheStats:
    """A cache's counts since it was made.

    Attributes:
        hits: Reads answered from memory with a value that was fresh.
        misses: Reads that had to wait for a fetch, their own or another caller's.
        stale: Reads answered with an expired value, because the backend was unavailable.
        negative: Reads answered from memory with "not found".
        evictions: Entries that were evicted to make room.
        errors: Fetches that failed, except with "not found", and failures of the second level.
        entries: Current entries.
    """

    hits: int = 0
    misses: int = 0
    stale: int = 0
    negative: int = 0
    evictions: int = 0
    errors: int = 0
    entries: int = 0
