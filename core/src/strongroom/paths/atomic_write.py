"""Files that are written whole or not at all, and never through somebody's link."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

__all__ = ["write_atomically"]


def write_atomically(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Write `data` beside `path` and replace what is there, in one step.

    Args:
        path: A symbolic link is replaced, not followed.
        data: What the file holds in the end.
        mode: The permissions of the new file, whatever the umask.

    Raises:
        OSError: It cannot be written; the error's `filename` is the folder or `path`, not the temporary file.
    """
    folder = path.absolute().parent
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=folder)
    except OSError as error:
        error.filename = str(folder)
        raise
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException as error:
        if isinstance(error, OSError):
            error.filename = str(path)
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise
