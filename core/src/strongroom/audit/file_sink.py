"""A log that many threads and processes append to, each line chained to the one before.

A writer holds a lock on the head, which stays where it is while logs are rotated. While size and inode of the
log are as the writer left them, nobody else has written, and an entry costs one write and one update of the
head in place. Otherwise `strongroom.audit.recovery` finds the end again.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NoReturn

from strongroom.audit import recovery
from strongroom.audit.chain import GENESIS, HEAD_BYTES, Chain
from strongroom.audit.key_source import KeySource
from strongroom.errors import AuditError, BackendUnavailableError, ConfigurationError
from strongroom.parallel import SingleEntryLock, Take, renew_after_fork
from strongroom.paths import sync_folder

if TYPE_CHECKING:
    from strongroom.audit.group_commit import GroupCommit

__all__ = ["FileSink"]

_OPEN = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_LOCK = fcntl.LOCK_EX | fcntl.LOCK_NB
_OTHERS_MAY = 0o027
_SPARE_BYTES = 512
_LOOK_SECONDS = 1.0
"""How long a head that was removed or exchanged may go unnoticed."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.0001, 0.01


class FileSink:
    """An append-only log of chained lines. Opened at the first use, and again after a fork or a rotation.

    Args:
        path: Where it is; its head is beside it.
        keys: Where its key comes from.
        fsync: Whether `append` returns only when the lines are on the disk; threads share one call.
        timeout: Seconds to wait for other threads and processes.
    """

    def __init__(self, path: str, keys: KeySource, *, fsync: bool, timeout: float) -> None:
        self.path = path
        self.head_path = f"{path}.head"
        self._keys = keys
        self._fsync = fsync
        self._timeout = timeout
        self._start_afresh()
        renew_after_fork(self, FileSink._after_fork, rest=FileSink._rest)

    def _start_afresh(self) -> None:
        self._mutex = SingleEntryLock(f"the audit log {self.path}")
        self._commit = _group_commit() if self._fsync else None
        self._head_fd = self._log_fd = -1
        self._forget()

    def _forget(self) -> None:
        self._chain: Chain | None = None
        self._inode = self._device = self._size = -1
        self._seq, self._mac = 0, GENESIS
        self._look_at = 0.0
        self._seal: Callable[[str, int, str], tuple[bytes, str]] = _not_open
        self._pack: Callable[[int, str, int], bytes] = _not_open

    def append(self, texts: Sequence[str]) -> list[bytes]:
        """Write `texts`, JSON objects without their closing brace, and return the lines that they became.

        Raises:
            AuditError: They could not be written; none of them is in the log.
        """
        commit, release = self._commit, self._mutex.release
        try:
            self._begin()
            try:
                lines = self._write(texts)
                number = commit.written() if commit is not None else 0
            finally:  # as `_begin` says
                try:
                    if self._head_fd >= 0:
                        fcntl.flock(self._head_fd, fcntl.LOCK_UN)
                finally:
                    release()
            if commit is not None:
                commit.wait(number, self._descriptors)
        except OSError as error:
            raise self._refusal(error) from error
        return lines

    def check(self, size: int) -> None:
        """Make sure that a line of `size` bytes can be written.

        Raises:
            AuditError: It cannot.
        """
        try:
            self._begin()
            try:
                self._probe_write(size + _SPARE_BYTES)
            finally:  # as `_begin` says
                try:
                    if self._head_fd >= 0:
                        fcntl.flock(self._head_fd, fcntl.LOCK_UN)
                finally:
                    self._mutex.release()
        except OSError as error:
            raise self._refusal(error) from error

    def close(self) -> None:
        """Close the files; another use opens them again."""
        with self._mutex:
            self._drop()

    def __del__(self) -> None:
        with contextlib.suppress(OSError, AttributeError):  # as the interpreter ends, or was never begun
            self._drop()

    def __repr__(self) -> str:
        return f"<FileSink {self.path}>"

    # --- one turn of writing: thread lock, file lock, and a known end of the log ---

    def _begin(self) -> None:
        """Take both locks, and find the end of the log.

        The caller gives them back by calls of C alone: what a signal handler raises as a function of Python
        begins would leave them locked, for all processes.
        """
        try:
            taken = self._mutex.acquire(True, self._timeout)
        except BackendUnavailableError as error:
            raise AuditError(error.message, hint=error.hint) from None
        if not taken:
            raise self._busy()
        try:
            if self._head_fd < 0:
                self._open_head()
            try:
                fcntl.flock(self._head_fd, _LOCK)
            except BlockingIOError:
                self._wait_for_head()
            try:
                now = os.lstat(self.path)
            except FileNotFoundError:
                self._recover_tail()
            else:
                if (
                    now.st_size != self._size
                    or now.st_ino != self._inode
                    or now.st_dev != self._device
                    or (time.monotonic() > self._look_at and self._lost_its_head())
                ):
                    self._recover_tail()
        except BaseException:
            self._drop()  # which gives the file lock back
            self._mutex.release()
            raise

    def _lost_its_head(self) -> bool:
        """Return whether the head is gone or replaced: a writer with the new one does not wait for us."""
        self._look_at = time.monotonic() + _LOOK_SECONDS
        return self._is_replaced(self.head_path, self._head_fd)

    def _wait_for_head(self) -> None:
        pause, until = _FIRST_PAUSE, time.monotonic() + self._timeout
        while time.monotonic() < until:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(self._head_fd, _LOCK)
                return
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        raise self._busy()

    def _open_head(self) -> None:
        in_use = self._refuse_what_is_no_log()
        try:
            key = self._keys.load_or_create(self.path, in_use=in_use)
        except ConfigurationError as error:
            raise AuditError(error.message, hint=error.hint) from error
        self._chain = Chain(key)
        self._head_fd = os.open(self.head_path, _OPEN, 0o600)
        if not stat.S_ISREG(os.fstat(self._head_fd).st_mode):
            raise AuditError(f"{self.head_path} is not an ordinary file", hint="remove it")

    def _refuse_what_is_no_log(self) -> bool:
        """Look at what is there before anything is made beside it; return whether the log is in use."""
        sizes = []
        for path in (self.path, self.head_path):
            try:
                status = os.lstat(path)
            except FileNotFoundError:
                continue
            if not stat.S_ISREG(status.st_mode):
                raise AuditError(
                    f"{path} is not an ordinary file, and cannot be an audit log",
                    hint="name a file of its own; for a pipe leave `path` out and configure a logger",
                )
            sizes.append(status.st_size)
        return any(sizes)

    def _recover_tail(self) -> None:
        if self._is_replaced(self.head_path, self._head_fd):
            self._drop()
            self._open_head()
            self._wait_for_head()
        is_new = False
        if self._log_fd < 0 or self._is_replaced(self.path, self._log_fd):
            self._close_log()
            is_new = self._open_log()
        assert self._chain is not None  # noqa: S101  # opening the head made it
        record = os.pread(self._head_fd, HEAD_BYTES, 0)
        recovered = recovery.find_end(self._log_fd, record, self._chain, self.path, is_new=is_new)
        end = recovered.end
        self._seal, self._pack = self._chain.seal, self._chain.anchor(end.first, end.prev, end.file).pack
        self._seq, self._mac, self._size = end.seq, end.mac, end.size
        os.pwrite(self._head_fd, self._pack(end.seq, end.mac, end.size), 0)
        if recovered.notes:
            self._write(recovered.notes)

    def _open_log(self) -> bool:
        """Open the log, and return whether it was made by that."""
        self._refuse_what_is_no_log()
        try:
            self._log_fd = os.open(self.path, _OPEN | os.O_APPEND | os.O_EXCL, 0o600)
            is_new = True
        except FileExistsError:
            self._log_fd = os.open(self.path, _OPEN | os.O_APPEND, 0o600)
            is_new = False
        status = os.fstat(self._log_fd)
        if not stat.S_ISREG(status.st_mode):
            raise AuditError(f"{self.path} is not an ordinary file, and cannot be an audit log")
        if status.st_mode & _OTHERS_MAY:
            with contextlib.suppress(OSError):  # somebody else's file: what can be written is written
                os.fchmod(self._log_fd, status.st_mode & ~_OTHERS_MAY)
        self._inode, self._device = status.st_ino, status.st_dev
        if self._fsync:
            sync_folder(os.path.dirname(self.path))  # noqa: PTH120  # stays text
        return is_new

    @staticmethod
    def _is_replaced(path: str, descriptor: int) -> bool:
        try:
            there = os.lstat(path)
        except FileNotFoundError:
            return True
        ours = os.fstat(descriptor)
        return (there.st_ino, there.st_dev) != (ours.st_ino, ours.st_dev)

    # --- with the lock held ---

    def _write(self, texts: Sequence[str]) -> list[bytes]:
        seal, pack = self._seal, self._pack  # Python calls a variable faster than an attribute
        seq, mac, before = self._seq, self._mac, self._size
        if len(texts) == 1:
            seq += 1
            data, mac = seal(texts[0], seq, mac)
            lines = [data]
        else:
            lines = []
            for text in texts:
                seq += 1
                line, mac = seal(text, seq, mac)
                lines.append(line)
            data = b"".join(lines)
        size = before + len(data)
        self._size = -1  # if anything stops us in between, the next writer looks at what is there
        done = os.write(self._log_fd, data)
        if done != len(data):
            self._put_rest(data, before, done)
        os.pwrite(self._head_fd, pack(seq, mac, size), 0)
        self._seq, self._mac, self._size = seq, mac, size
        return lines

    def _put_rest(self, data: bytes, before: int, done: int) -> None:
        try:
            while done < len(data):
                done += os.write(self._log_fd, data[done:])
        except BaseException:
            with contextlib.suppress(OSError):  # else the next writer closes what is left of the line
                os.ftruncate(self._log_fd, before)
            raise

    def _probe_write(self, size: int) -> None:
        """Make sure that the log may grow by `size` bytes: rights, limits, and space on its disk.

        The log stays as it is, for programs follow it: one that grew and shrank would be sent to them again
        as a whole. Blanks are written behind the head, in blocks of their own, and taken away again.
        """
        try:
            os.ftruncate(self._log_fd, self._size)  # as long as it is
        except PermissionError:
            # An append-only file (chattr +a) cannot be cut: that it opens must be enough. It is opened again,
            # for one that was made immutable (chattr +i) since the first time refuses every line.
            os.close(os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC))
        import resource  # for writes alone

        limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
        if limit != resource.RLIM_INFINITY and self._size + size > limit:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
        at, blanks = max(os.fstat(self._head_fd).st_blksize, HEAD_BYTES), b" " * size
        try:
            while blanks:
                done = os.pwrite(self._head_fd, blanks, at)
                at, blanks = at + done, blanks[done:]
        finally:
            os.ftruncate(self._head_fd, HEAD_BYTES)

    def _descriptors(self) -> tuple[int, int, int]:
        """Return the number of the last append, and copies of the descriptors of log and head."""
        assert self._commit is not None  # noqa: S101  # that is what asks
        with self._mutex:
            if self._log_fd < 0:
                return self._commit.last, -1, -1
            log = os.dup(self._log_fd)
            try:
                return self._commit.last, log, os.dup(self._head_fd)
            except BaseException:  # the process may open no more files: that one is not lost as well
                os.close(log)
                raise

    def _close_log(self) -> None:
        if self._log_fd >= 0:
            if self._commit is not None:
                self._commit.retire(self._log_fd)
            os.close(self._log_fd)
            self._log_fd = -1

    def _drop(self) -> None:
        """Close both files, which also gives the file lock back."""
        self._close_log()
        if self._head_fd >= 0:
            # A copy for a sync that an interrupt has lost would keep the lock.
            with contextlib.suppress(OSError):
                fcntl.flock(self._head_fd, fcntl.LOCK_UN)
            os.close(self._head_fd)
            self._head_fd = -1
        self._forget()

    def _rest(self, take: Take) -> None:
        take(self._mutex)  # a descriptor that is opened just now would be lost, and keep the file lock

    def _after_fork(self) -> None:
        # The copies share the parent's file lock: they are closed, never unlocked.
        for descriptor in (self._log_fd, self._head_fd):
            if descriptor >= 0:
                os.close(descriptor)
        self._start_afresh()

    def _busy(self) -> AuditError:
        return AuditError(
            f"the audit log {self.path} has been held by another writer for more than {self._timeout:g} s",
            hint="look for a stopped process that has it open",
        )

    def _refusal(self, error: OSError) -> AuditError:
        reason = os.strerror(error.errno) if error.errno else type(error).__name__
        return AuditError(
            f"the audit log {self.path} cannot be written: {reason}",
            hint="make room for it and see that its folder is there and writable",
        )


def _group_commit() -> GroupCommit:
    from strongroom.audit.group_commit import GroupCommit

    return GroupCommit()


def _not_open(*_: object) -> NoReturn:
    raise AssertionError("a line was made before the end of the log was found")
