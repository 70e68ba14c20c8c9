"""Files that are complete before they get their name, so that a killed process leaves no half of one."""

from __future__ import annotations

import contextlib
import os
from types import TracebackType
from typing import Self

__all__ = ["NewFile"]

_MODE = 0o600


class NewFile:
    """A new file, 0600, in the folder of the one that it becomes; a context manager, which closes it.

    Where the system can, it has no name until then, and is gone with a process that is killed: it may hold
    a key or a secret, and git does not ignore its name. Elsewhere it has a temporary name.

    Args:
        folder: An existing one.

    Raises:
        OSError: It cannot be made.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._temporary = os.path.join(folder, f".strongroom-{os.urandom(8).hex()}.tmp")  # noqa: PTH118  # stays text
        self._is_named = False
        self.descriptor = self._opened(folder)

    def _opened(self, folder: str | os.PathLike[str]) -> int:
        flags = os.O_RDWR | os.O_CLOEXEC
        unnamed = getattr(os, "O_TMPFILE", 0)
        if unnamed and os.access("/proc/self/fd", os.X_OK):  # by which it gets its name
            # Not every file system can; any other error comes again below.
            with contextlib.suppress(OSError):
                return os.open(folder, flags | unnamed, _MODE)
        descriptor = os.open(self._temporary, flags | os.O_CREAT | os.O_EXCL, _MODE)
        self._is_named = True
        return descriptor

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self.descriptor)
        if self._is_named:
            with contextlib.suppress(OSError):
                os.unlink(self._temporary)  # noqa: PTH108  # as above

    def write(self, data: bytes) -> None:
        """Write `data` behind what was written before."""
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self.descriptor, rest) :]

    def sync(self) -> None:
        """Return when what was written is on the disk."""
        os.fsync(self.descriptor)

    def link(self, path: str | os.PathLike[str]) -> None:
        """Give the file its name.

        Raises:
            FileExistsError: The name is taken.
        """
        self._link(path)

    def replace(self, path: str | os.PathLike[str]) -> None:
        """Give the file its name, and replace what has it, in one step."""
        if not self._is_named:
            with contextlib.suppress(FileExistsError):
                self._link(path)
                return
            self._link(self._temporary)
            self._is_named = True
        os.replace(self._temporary, path)  # noqa: PTH105  # as above
        self._is_named = False

    def _link(self, path: str | os.PathLike[str]) -> None:
        if self._is_named:
            os.link(self._temporary, path, follow_symlinks=False)
            return
        # Only with a descriptor of a folder, which an absolute path makes no use of, is the link followed.
        os.link(f"/proc/self/fd/{self.descriptor}", path, src_dir_fd=self.descriptor, follow_symlinks=True)
