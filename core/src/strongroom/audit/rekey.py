"""The end of an audit log whose key is replaced: it is moved aside with its head, and a new one begins."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

__all__ = ["moved_aside"]


@contextlib.contextmanager
def moved_aside(paths: Sequence[str], key_id: str) -> Iterator[list[Path]]:
    """Move audit logs aside as `<log>.old-<key id>`, replace their key in the block, and move their heads.

    Writers wait meanwhile. A log keeps its head until its key is replaced: what is written after a crash in
    between goes on in the old chain, as after a rotation.
    """
    moved: list[Path] = []
    with contextlib.ExitStack() as stack:
        heads: list[tuple[Path, Path]] = []
        for path in dict.fromkeys(paths):
            head, aside = Path(f"{path}.head"), Path(f"{path}.old-{key_id}")
            if not head.exists():
                continue  # nothing was recorded yet
            descriptor = os.open(head, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            stack.callback(os.close, descriptor)  # which gives the lock back
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if Path(path).exists():
                _make_room(aside)
                Path(path).rename(aside)
            if aside.exists():
                moved.append(aside)
            heads.append((head, Path(f"{aside}.head")))
        yield moved
        for head, aside in heads:
            head.rename(aside)


def _make_room(aside: Path) -> None:
    """Rename what an interrupted call has moved aside, so that it becomes an earlier piece of the log."""
    if aside.exists():
        numbers = iter(range(1, 1 << 30))
        piece = next(one for number in numbers if not (one := Path(f"{aside}.{number}")).exists())
        aside.rename(piece)
