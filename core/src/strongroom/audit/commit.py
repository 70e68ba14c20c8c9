"""Group commit: one fsync for all threads that wait for the disk."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable

__all__ = ["GroupCommit"]


class GroupCommit:
    """Counts appends, and tells up to which one they are on the disk."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self.last = 0
        self._synced = 0
        self._lost = 0

    def written(self) -> int:
        """Count an append and return its number; the caller holds the log's lock."""
        self.last += 1
        return self.last

    def wait(self, number: int, descriptors: Callable[[], tuple[int, int, int]]) -> None:
        """Return when append `number` is on the disk; whoever comes first syncs for all who wait.

        Args:
            number: What `written` returned.
            descriptors: Returns the number of the last append, and copies of the descriptors to sync.

        Raises:
            OSError: The disk did not take it.
        """
        with self._turn:
            if number > self._synced:
                self._sync(*descriptors())
        if number <= self._lost:
            # After a failed fsync the kernel calls the pages clean: trying again would tell a lie.
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def retire(self, descriptor: int) -> None:
        """Sync a log that is about to be closed, for those who still wait; the caller holds its lock."""
        try:
            os.fsync(descriptor)
        except OSError:
            self._lost = self.last

    def _sync(self, last: int, log: int, head: int) -> None:
        if log < 0:  # closed in between, and synced as it was
            self._synced = last
            return
        try:
            # The log first: a head that is ahead of its log would look like a log that was cut.
            os.fsync(log)
            os.fsync(head)
        except OSError:
            self._lost = last
            raise
        finally:
            self._synced = last
            os.close(log)
            os.close(head)
