"""The form of what is stored. docs/explanation/file-format.md says the same in words."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from struct import Struct
from typing import Final

from strongroom.plugins import NamedTuple

__all__ = [
    "APPLICATION_ID",
    "EMPTY_ENTRY",
    "ENTRY",
    "ENTRY_VALUE",
    "FORMAT_VERSION",
    "HISTORY",
    "LINK",
    "MAX_NODE_BYTES",
    "NODE",
    "NODE_HEAD",
    "ROOT",
    "ROOT_KINDS",
    "SCHEMA",
    "STATES",
    "TABLES",
    "VALUE",
    "VERSION",
    "Entry",
    "Link",
    "Node",
    "StoredVersion",
    "pack_history",
    "version_id",
]

APPLICATION_ID: Final = 0x53524D31
"""`SRM1`, in SQLite's header, for file(1) and friends."""
FORMAT_VERSION: Final = 2
"""SQLite's `user_version`."""

TABLES: Final = ("header", "root", "node", "history", "value")
SCHEMA: Final = tuple(
    f"CREATE TABLE {table} (id INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT" for table in TABLES
)

MAX_NODE_BYTES: Final = 3900
"""Beyond it a node is split, and the writes in the root go into the tree. Sealed, both still fit
into a page of 4096 bytes."""

NODE, HISTORY, VALUE, ROOT = b"N", b"H", b"V", b"S"
"""The kinds of sealed rows, bound to each."""
ROOT_KINDS: Final = {1: b"R", FORMAT_VERSION: ROOT}
"""The kind of a root by format, so that no root is taken for one of another format."""

LINK: Final = Struct(">Q16s")
"""A row and the tag of its ciphertext."""
ENTRY: Final = Struct(">IQ16sqqqQ16s")
ENTRY_VALUE: Final = Struct(">4xQ16s")
"""The beginning of an entry, of which only the row and the tag of the current version are read."""
VERSION: Final = Struct(">IQ16sqB")
NODE_HEAD: Final = Struct(">BHI")

STATES: Final = ("pending", "previous")


class Link(NamedTuple):
    """A row, and the tag that its ciphertext ends with: nothing else can replace it."""

    id: int
    tag: bytes


class Entry(NamedTuple):
    """The entry of one key in a leaf; times are microseconds since 1970 in UTC.

    Attributes:
        epoch, value, tag: The current version, and the tag of its row; `value` is 0 where there is none.
        made: When that version was written.
        created, updated: When the key got its first and its present value.
        history, history_tag: The link to the other versions, 0 where there are none.
    """

    epoch: int
    value: int
    tag: bytes
    made: int
    created: int
    updated: int
    history: int
    history_tag: bytes

    def pack(self) -> bytes:
        return ENTRY.pack(*self)

    @classmethod
    def unpack(cls, data: bytes) -> Entry:
        return cls._make(ENTRY.unpack(data))


EMPTY_ENTRY: Final = Entry(0, 0, bytes(16), 0, 0, 0, 0, bytes(16))


class StoredVersion(NamedTuple):
    """A version that is not the current one."""

    epoch: int
    value: int
    tag: bytes
    made: int
    state: int


def pack_history(versions: list[StoredVersion]) -> bytes:
    """Return versions as they are stored, one behind the other; `version_history.versions` reads them."""
    return b"".join(VERSION.pack(*version) for version in versions)


def version_id(epoch: int, value: int) -> str:
    """Return the id of a version for callers."""
    return f"{epoch:08x}-{value}"


class Node:
    """A node of the tree, never changed: sorted names, and as many items of one size each.

    In a leaf a name is a key and its item an entry. In an inner node a name is the lower bound of a child
    and its item the link to it; the first name counts for nothing, for the first child has all that is less
    than the second name. Names hold no NUL, so one `split` reads them all.

    Attributes:
        framed: The names with a NUL before and behind each.
        split: The names one by one, None as long as nothing needs them so.
        searched: Whether a read has looked for a name in this leaf, or for a child that it did not keep yet.
        bounds: Of an inner node, the lower bounds of all children but the first.
        children: Of an inner node, the nodes that its links lead to, as far as reads have met them.
    """

    __slots__ = ("bounds", "children", "framed", "items", "leaf", "searched", "split", "width")

    def __init__(self, leaf: bool, framed: bytes, items: bytes, names: list[bytes] | None = None) -> None:
        self.leaf = leaf
        self.framed = framed
        self.items = items
        self.width = ENTRY.size if leaf else LINK.size
        self.split = names
        self.searched = False
        if not leaf:
            self.bounds = self.names[1:]
            self.children: list[Node | None] = [None] * len(self.names)

    @classmethod
    def of(cls, leaf: bool, names: Sequence[bytes], items: bytes) -> Node:
        """Return the node with these names."""
        return cls(leaf, b"\0".join([b"", *names, b""]), items)

    @classmethod
    def unpack(cls, data: bytes) -> Node:
        leaf, count, names_length = NODE_HEAD.unpack_from(data)
        end = NODE_HEAD.size + names_length
        framed = b"\0" + data[NODE_HEAD.size : end] + b"\0" if count else b"\0"
        return cls(bool(leaf), framed, data[end:])

    def pack(self) -> bytes:
        joined = self.framed[1:-1]
        return NODE_HEAD.pack(self.leaf, self.count, len(joined)) + joined + self.items

    @property
    def count(self) -> int:
        """How many items it has."""
        return len(self.items) // self.width

    @property
    def names(self) -> list[bytes]:
        """The names, split at their first use."""
        names = self.split
        if names is None:
            names = self.split = self.framed[1:-1].split(b"\0") if self.items else []
        return names

    @property
    def keys(self) -> list[str]:
        """The names as text, decoded at once."""
        return self.framed[1:-1].decode().split("\0") if self.items else []

    @property
    def size(self) -> int:
        return NODE_HEAD.size + max(len(self.framed) - 2, 0) + len(self.items)

    def start(self, name: bytes) -> int:
        """Return where the item of `name` begins in the items of a leaf; -1 if there is none.

        The first search goes through the bytes, for many leaves are searched once; the next one splits them.
        """
        if self.split is None and not self.searched:
            self.searched = True
            at = self.framed.find(b"\0" + name + b"\0")
            return self.framed.count(0, 0, at) * self.width if at >= 0 else -1
        names = self.names
        place = bisect_left(names, name)
        return place * self.width if place < len(names) and names[place] == name else -1

    def item(self, place: int) -> bytes:
        width = self.width
        return self.items[place * width : place * width + width]

    def link(self, place: int) -> Link:
        return Link._make(LINK.unpack_from(self.items, place * LINK.size))

    def links(self) -> list[Link]:
        return list(map(Link._make, LINK.iter_unpack(self.items)))

    def inserted(self, place: int, name: bytes, item: bytes) -> Node:
        names = self.names.copy()
        names.insert(place, name)
        cut = place * self.width
        return Node.of(self.leaf, names, self.items[:cut] + item + self.items[cut:])

    def with_items(self, items: bytes) -> Node:
        return Node(self.leaf, self.framed, items, self.split)

    def removed(self, place: int) -> Node:
        """Return the node without one item; an inner node keeps its own lower bound."""
        names = self.names.copy()
        bound = names.pop(place)
        if not self.leaf and place == 0 and names:
            names[0] = bound
        cut = place * self.width
        return Node.of(self.leaf, names, self.items[:cut] + self.items[cut + self.width :])

    def part(self, start: int, end: int) -> Node:
        return Node.of(self.leaf, self.names[start:end], self.items[start * self.width : end * self.width])

    def joined(self, right: Node, bound: bytes) -> Node:
        """Return the node with the items of its right neighbour, whose lower bound is `bound`."""
        names = right.names if self.leaf else [bound, *right.names[1:]]
        return Node.of(self.leaf, self.names + names, self.items + right.items)
