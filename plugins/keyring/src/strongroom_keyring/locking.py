"""One lock for each keyring service, held between threads and between the user's processes.

Neither the keyring library nor all of its backends are safe to use from several places at once (a file
backend reads and rewrites its whole file), and keeping an index takes two steps.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from strongroom.errors import BackendUnavailableError, ConfigurationError

__all__ = ["lock_file", "locked"]


class _Held(threading.local):
    """The services whose lock this thread holds, and whether alone."""

    def __init__(self) -> None:
        self.services: dict[str, bool] = {}


_held = _Held()


def lock_file(service: str) -> str:
    """Return the path of the lock for `service`, in the user's data folder."""
    import platformdirs

    name = hashlib.sha256(service.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return os.path.join(platformdirs.user_data_path("strongroom"), f"keyring-{name}.lock")  # noqa: PTH118  # paths are made per call; pathlib doubles its cost


@contextmanager
def locked(service: str, *, writing: bool, alone: bool = False) -> Iterator[None]:
    """Hold the lock of `service`: alone if `writing` or `alone`, else together with other readers.

    Raises:
        BackendUnavailableError: This thread has it already: a signal handler would wait for ever.
        ConfigurationError: `writing`, and the lock file cannot be made.
    """
    alone = alone or writing
    services = _held.services
    outer = services.get(service)
    if outer is not None and (outer or alone):
        raise BackendUnavailableError(
            f"keyring: {service!r} is in use by the thread that calls it, as in a signal handler",
            provider="keyring",
            hint="set a flag in the handler, and do the work outside of it",
        )
    services[service] = alone
    try:
        with _locked(service, writing=writing, alone=alone):
            yield
    finally:
        if outer is None:
            del services[service]


@contextmanager
def _locked(service: str, *, writing: bool, alone: bool) -> Iterator[None]:
    descriptor = _opened(lock_file(service))
    if descriptor is None:
        if writing:
            raise ConfigurationError(
                "keyring: the lock file in the user's data folder cannot be written",
                provider="keyring",
                hint="make the folder writable, or set XDG_DATA_HOME",
            )
        yield  # where nobody can take the lock for writing, reading needs none
        return
    try:
        # Each call has an open file of its own, so this holds threads apart as it does processes.
        fcntl.flock(descriptor, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield
    finally:
        # A child that was forked meanwhile has a copy of the descriptor, which would hold the lock for ever.
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


def _opened(path: str) -> int | None:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return os.open(path, flags, 0o600)
    except FileNotFoundError:
        pass
    except OSError:
        return None
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)  # noqa: PTH103, PTH120  # as above
        return os.open(path, flags, 0o600)
    except OSError:
        return None
