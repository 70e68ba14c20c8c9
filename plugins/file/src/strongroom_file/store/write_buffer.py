"""Recent writes, which are not in the tree yet.

They are in the root, in their order, until there is no more room for them. So most writes replace no node of
the tree: the root is replaced anyway.
"""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct
from typing import Final

from strongroom.plugins import NamedTuple

from strongroom_file.store import version_history
from strongroom_file.store.format import EMPTY_ENTRY, ENTRY, Entry, StoredVersion
from strongroom_file.store.version_history import PREVIOUS

__all__ = ["NO_WRITES", "WRITE", "Write", "WriteBuffer", "first_entries", "made_current", "replayed"]

WRITE: Final = Struct(">IQ16sqH")
_HEAD: Final = Struct(">HI")


class Write(NamedTuple):
    """A version that was written and made current at once.

    Attributes:
        epoch, value, tag, made: The version, its row and when it was written.
        keep: Versions that its writer keeps of a key.
    """

    epoch: int
    value: int
    tag: bytes
    made: int
    keep: int


class WriteBuffer:
    """The writes in one root, never changed."""

    __slots__ = ("_items", "_names", "_writes")

    def __init__(self, names: bytes, items: bytes) -> None:
        self._names = names
        self._items = items
        self._writes: dict[bytes, tuple[Write, ...]] | None = None

    @classmethod
    def unpack(cls, data: bytes) -> WriteBuffer:
        _, length = _HEAD.unpack_from(data)
        end = _HEAD.size + length
        return cls(data[_HEAD.size : end], data[end:])

    def pack(self) -> bytes:
        names, items = self._names, self._items
        return _HEAD.pack(len(items) // WRITE.size, len(names)) + names + items

    @property
    def size(self) -> int:
        return _HEAD.size + len(self._names) + len(self._items)

    @property
    def writes(self) -> dict[bytes, tuple[Write, ...]]:
        """The writes by name, the oldest first; made at the first use, which most writes do not need."""
        writes = self._writes
        if writes is None:
            writes = {}
            for name, write in self.in_order():
                known = writes.get(name)
                writes[name] = (write,) if known is None else (*known, write)
            self._writes = writes
        return writes

    def in_order(self) -> list[tuple[bytes, Write]]:
        """Return all writes in their order."""
        names = self._names.split(b"\0") if self._items else ()
        return list(zip(names, map(Write._make, WRITE.iter_unpack(self._items)), strict=True))

    def added(self, name: bytes, write: Write) -> WriteBuffer:
        names = self._names + b"\0" + name if self._items else name
        return WriteBuffer(names, self._items + WRITE.pack(*write))

    def without(self, name: bytes) -> WriteBuffer:
        kept = [known for known in self.in_order() if known[0] != name]
        return WriteBuffer(
            b"\0".join(known for known, _ in kept), b"".join(WRITE.pack(*write) for _, write in kept)
        )


NO_WRITES: Final = WriteBuffer(b"", b"")


def first_entries(epoch: int, rows: Iterable[tuple[int, bytes]], now: int) -> list[bytes]:
    """Return the packed entries of keys with one version each, as `made_current` makes them of `EMPTY_ENTRY`.

    Args:
        epoch: That of the versions.
        rows: The sealed rows of their values, by id.
        now: When they were written.
    """
    pack, no_history = ENTRY.pack, EMPTY_ENTRY.history_tag
    return [pack(epoch, row, body[-16:], now, now, now, 0, no_history) for row, body in rows]


def made_current(
    entry: Entry, packed: bytes, version: StoredVersion, now: int, keep: int
) -> tuple[Entry, bytes, list[int]]:
    """Make a version the current one of a key.

    Return its entry, its other versions, and the rows of those beyond the limit.
    """
    if entry.value:
        replaced = StoredVersion(entry.epoch, entry.value, entry.tag, entry.made, PREVIOUS)
        packed = version_history.added(packed, replaced)
    packed, dropped = version_history.trimmed(packed, keep - 1)
    created = entry.created if entry.value else now
    current = Entry(
        version.epoch,
        version.value,
        version.tag,
        version.made,
        created,
        max(now, created),  # a clock that was set back makes no secret older than its creation
        entry.history,
        entry.history_tag,
    )
    return current, packed, dropped


def replayed(
    entry: Entry | None, packed: bytes, writes: Iterable[Write]
) -> tuple[Entry | None, bytes, list[int]]:
    """Apply writes to the entry of a key in the tree, and return the same as `made_current`."""
    dropped: list[int] = []
    for write in writes:
        version = StoredVersion(write.epoch, write.value, write.tag, write.made, PREVIOUS)
        entry, packed, rows = made_current(entry or EMPTY_ENTRY, packed, version, write.made, write.keep)
        dropped += rows
    return entry, packed, dropped
