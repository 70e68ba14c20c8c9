"""Group commit: one fsync for all threads that wait for the disk."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable

from strongroom.parallel import Condition

__all__ = ["GroupCommit"]


class GroupCommit:
    """Counts appends, and lets threads wait until theirs is on the disk."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._syncing = False
        self._leader = 0
        self.last = 0
        self._synced = 0
        self._lost = 0

    def written(self) -> int:
        """Count an append and return its number; the caller holds the log's lock."""
        self.last += 1
        return self.last

    def wait(self, number: int, descriptors: Callable[[], tuple[int, int, int]]) -> None:
        """Return when append `number` is on the disk; the first thread syncs for all that wait.

        Args:
            number: What `written` returned.
            descriptors: Returns the number of the last append, and copies of the descriptors to sync.

        Raises:
            OSError: The disk did not take it.
        """
        me = threading.get_ident()
        try:
            with self._changed:
                # A signal handler that interrupts the sync must not wait for it.
                while self._syncing and self._leader != me and number > self._synced:
                    self._changed.wait()
                leads = number > self._synced
                if leads:
                    self._syncing, self._leader = True, me
            if leads:
                self._sync(number, descriptors)
        finally:  # wherever an interrupt came: the others would wait for ever
            with self._changed:
                if self._leader == me:
                    self._syncing, self._leader = False, 0
                    self._changed.notify_all()
        if number <= self._lost:
            # After a failed fsync the kernel calls the pages clean: another fsync would succeed.
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def retire(self, descriptor: int) -> None:
        """Sync a log that is about to be closed, for those who still wait; the caller holds its lock."""
        try:
            os.fsync(descriptor)
        except OSError:
            self._lost = self.last

    def _sync(self, number: int, descriptors: Callable[[], tuple[int, int, int]]) -> None:
        last, log, head = number, -1, -1
        try:
            last, log, head = descriptors()
            if log >= 0:  # else it was closed in between, and synced as it was
                # The log first: a head that is ahead of its log would look like a log that was cut.
                os.fsync(log)
                os.fsync(head)
        except BaseException as error:
            self._lost = last
            if not isinstance(error, OSError):  # `wait` raises that for each thread that waits
                raise
        finally:
            for descriptor in (log, head):
                if descriptor >= 0:
                    os.close(descriptor)
            with self._changed:
                self._synced = max(self._synced, last)
