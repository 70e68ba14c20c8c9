"""The root: the row that leads to all others."""

from __future__ import annotations

from struct import Struct
from typing import Final

from strongroom.plugins import NamedTuple

from strongroom_file.store.write_buffer import NO_WRITES, WriteBuffer

__all__ = ["Root"]

_FIELDS: Final = Struct(">Q16sIQQQQ")


class Root(NamedTuple):
    """The row that leads to all others, and that every commit replaces.

    Attributes:
        node, tag: The link to the topmost node.
        epoch: Drawn when the store is made or restored; part of new version ids.
        last_id: The last row id that was given out; ids are never given out again.
        commits: Transactions since the store was made.
        seals: Encryptions under this data key, bounded for the sake of random nonces.
        secrets: Keys that have a current value in the tree.
        recent: Writes that are not in the tree yet.
    """

    node: int
    tag: bytes
    epoch: int
    last_id: int
    commits: int
    seals: int
    secrets: int
    recent: WriteBuffer = NO_WRITES

    def pack(self) -> bytes:
        return _FIELDS.pack(*self[:7]) + self.recent.pack()

    @classmethod
    def unpack(cls, data: bytes) -> Root:
        """Read a root; one of format 1 ends before the writes."""
        recent = WriteBuffer.unpack(data[_FIELDS.size :]) if len(data) > _FIELDS.size else NO_WRITES
        node, tag, epoch, last_id, commits, seals, secrets = _FIELDS.unpack_from(data)
        return cls(node, tag, epoch, last_id, commits, seals, secrets, recent)
