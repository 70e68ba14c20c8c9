"""Revokes leases at the normal end of this process, when no thread of the program needs them any more."""

from __future__ import annotations

import os
import sys
import threading
import weakref
from contextlib import suppress
from typing import Any, Final, Protocol

__all__ = ["is_at_the_end", "revoke_at_exit", "revoke_for_good"]


class Revocable(Protocol):
    """Leases that are revoked together."""

    def revoke_all(self) -> None: ...

    def end(self) -> None:
        """Revoke all, also what other threads are being issued."""


_holding: weakref.WeakSet[Revocable] = weakref.WeakSet()
_IMPORTED_IN: Final = os.getpid()
_registered = False
_ending: int | None = None
"""The process that ends, so that daemon threads get no more leases; a child of it does not end."""
_ended: int | None = None
"""The process that has revoked for the last time, so that no thread gets any."""


def revoke_at_exit(leases: Revocable) -> None:
    """Revoke `leases` at the normal end of this process."""
    global _registered  # noqa: PLW0603  # once in a process
    _holding.add(leases)
    if not _registered:
        _registered = True
        # If possible, before the interpreter ends its threads: revoking may need some.
        register: Any = getattr(threading, "_register_atexit", None)
        if register is not None:
            with suppress(RuntimeError):  # the threads have ended already
                register(_revoke_after_threads)


def _revoke_after_threads() -> None:
    """Revoke when no thread of the program is left: some go on after the main one has ended."""
    if not _threads_at_work():
        _revoke_without_threads()
        return
    # Not here: those of `concurrent.futures` end after this function. A process waits for this thread, too.
    with suppress(RuntimeError):  # since Python 3.12 none can be started at the end; `atexit` revokes then
        threading.Thread(target=_wait_and_revoke, name="strongroom-leases-end", daemon=False).start()


def _wait_and_revoke() -> None:
    while at_work := _threads_at_work():
        at_work[0].join()
    _revoke_without_threads()


def _threads_at_work() -> list[threading.Thread]:
    """Return the other threads for which the end of the process waits."""
    not_these = {threading.main_thread(), threading.current_thread()}
    # `enumerate` also has those that are just being started, for which nobody can wait yet.
    others = [one for one in threading.enumerate() if one not in not_these and one.is_alive()]
    return [one for one in others if not one.daemon]


def _revoke_without_threads() -> None:
    if os.getpid() != _IMPORTED_IN or _is_child_of_multiprocessing():  # which runs no functions at its exit
        _end_all()
        return
    for leases in list(_holding):
        leases.revoke_all()


def _is_child_of_multiprocessing() -> bool:
    process: Any = sys.modules.get("multiprocessing.process")
    return process is not None and process.parent_process() is not None


def _end_all() -> None:
    """Revoke all leases; daemon threads, which go on for a moment, get no more."""
    global _ending  # noqa: PLW0603  # once in a process
    _ending = os.getpid()
    for leases in list(_holding):
        leases.end()


def revoke_for_good() -> None:
    """Revoke for the last time; `import strongroom` has registered that among the functions at the exit.

    Those that were registered later run earlier, and may read.
    """
    global _ended  # noqa: PLW0603  # once in a process
    _ended = os.getpid()
    _end_all()


def is_at_the_end() -> bool:
    """Return whether nobody would revoke a lease that this thread is issued now."""
    process = os.getpid()
    return _ended == process or (_ending == process and threading.current_thread().daemon)
