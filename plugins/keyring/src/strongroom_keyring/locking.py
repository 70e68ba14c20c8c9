"""One lock for each keyring service, held between threads and between the user's processes.

Neither the keyring library nor all of its backends are safe to use from several places at once (a file
backend reads and rewrites its whole file), and keeping an index takes two steps.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager

from strongroom.errors import ConfigurationError

__all__ = ["lock_file", "locked"]


def lock_file(service: str) -> str:
    """Return the path of the lock for `service`, in the user's data folder."""
    import platformdirs

    name = hashlib.sha256(service.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return os.path.join(platformdirs.user_data_path("strongroom"), f"keyring-{name}.lock")  # noqa: PTH118  # paths are made per call; pathlib doubles its cost


@contextmanager
def locked(service: str, *, writing: bool, alone: bool = False) -> Iterator[None]:
    """Hold the lock of `service`: alone if `writing` or `alone`, else together with other readers.

    Raises:
        ConfigurationError: `writing`, and the lock file cannot be made.
    """
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
        fcntl.flock(descriptor, fcntl.LOCK_EX if writing or alone else fcntl.LOCK_SH)
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
