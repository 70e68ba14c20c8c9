"""A B+-tree of nodes that are never changed in place: search, walks, and changes."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import repeat
from struct import unpack
from typing import TYPE_CHECKING

from strongroom_file.store.format import ENTRY, ENTRY_VALUE, LINK, MAX_NODE_BYTES, NODE_HEAD, Link, Node

if TYPE_CHECKING:
    from typing import Protocol

    class Loader(Protocol):
        """What has nodes, and loads others."""

        @property
        def known(self) -> Mapping[bytes, Node]:
            """The verified nodes by their tags."""

        def load(self, row: int, tag: bytes) -> Node:
            """Return the verified node of a link."""


__all__ = ["Change", "Load", "TreeDraft", "find", "find_value", "leaves"]

Load = Callable[[int, bytes], Node]
"""Returns the verified node of a link."""

Change = Callable[[bytes, bytes | None], bytes]
"""Give the new entry of a name, from the entry that it had, if any."""

_ENTRY_SIZE, _LINK_SIZE = ENTRY.size, LINK.size
_entry_value = ENTRY_VALUE.unpack_from
_MIN_NODE_BYTES = MAX_NODE_BYTES // 4
_MERGED_BYTES = MAX_NODE_BYTES * 3 // 4


def _child(names: Sequence[bytes], name: bytes) -> int:
    """Return the place of the child that `name` belongs to; the first bound counts for nothing."""
    # A node whose left neighbours were emptied takes their names over, which are less than its first bound.
    return bisect_right(names, name, 1) - 1


def find(load: Load, root: Link, name: bytes) -> bytes | None:
    """Return the entry of `name`; None means absent, as every node on the way was verified."""
    node = load(*root)
    while not node.leaf:
        node = load(*LINK.unpack_from(node.items, bisect_right(node.bounds, name) * _LINK_SIZE))
    start = node.start(name)
    return node.items[start : start + _ENTRY_SIZE] if start >= 0 else None


def find_value(nodes: Loader, node: Node, name: bytes) -> tuple[int, bytes]:
    """Return the row of the current version of `name` below `node`, and its tag.

    For a name that is absent they may be those of another one. Its value does not open under this name, so
    the decryption finds that out, and it takes no time here.

    Raises:
        struct.error: The name is absent.
    """
    while not node.leaf:
        place = bisect_right(node.bounds, name)
        node = node.children[place] or _meet(nodes, node, place)
    names = node.split
    # As in `Node.start`, without the time for another call.
    return _entry_value(node.items, bisect_left(names, name) * _ENTRY_SIZE if names else node.start(name))


def _meet(nodes: Loader, node: Node, place: int) -> Node:
    """Return the child at `place`, and keep it, for most reads meet it again: a link admits no other node.

    The first time it keeps all children that are known. So after a write, which replaced the node but few of
    the nodes below it, most reads do not come here.
    """
    if not node.searched:
        node.searched = True
        known = nodes.known.get
        node.children = [known(tag) for _, tag in LINK.iter_unpack(node.items)]
    child = node.children[place]
    if child is None:
        child = node.children[place] = nodes.load(*LINK.unpack_from(node.items, place * _LINK_SIZE))
    return child


def leaves(load: Load, root: Link, prefix: bytes) -> Iterator[Node]:
    """Yield the leaves that can hold names with `prefix`, in order."""
    stack = [root]
    while stack:
        node = load(*stack.pop())
        if node.leaf:
            yield node
            continue
        first = _child(node.names, prefix)
        last = first
        while last + 1 < len(node.names) and _reaches(node.names[last + 1], prefix):
            last += 1
        stack += reversed([node.link(place) for place in range(first, last + 1)])


def _reaches(bound: bytes, prefix: bytes) -> bool:
    return bound <= prefix or bound.startswith(prefix)


class TreeDraft:
    """The changes of one transaction, made in memory and sealed once at its end.

    Args:
        load: Returns nodes that the transaction has not changed.
        root: The topmost node.
        allot: Returns ids for new rows.

    Attributes:
        replaced: Tags of nodes that `seal` has replaced.
    """

    __slots__ = ("_allot", "_load", "gone", "replaced", "root", "touched")

    def __init__(self, load: Load, root: Link, allot: Callable[[], int]) -> None:
        self.root = root
        self.touched: dict[int, Node] = {}
        self.replaced: list[bytes] = []
        self.gone: set[int] = set()
        self._load = load
        self._allot = allot

    def node(self, row: int, tag: bytes) -> Node:
        """Return a node as this transaction sees it; `tag` counts only for unchanged ones."""
        touched = self.touched.get(row)
        return touched if touched is not None else self._load(row, tag)

    def put(self, name: bytes, entry: bytes) -> None:
        """Set the entry of `name`."""
        self.update([name], lambda *_: entry)

    def update(self, names: Sequence[bytes], change: Change) -> None:
        """Replace the entry of each of `names`, sorted and each once, by the result of `change`.

        Each node on the way is replaced once, however many names are below it.
        """
        grown = self._update(self.root, names, change) if names else []
        while grown:
            bounds, links = zip(*grown, strict=True)
            top = Node.of(False, [b"", *bounds], b"".join(LINK.pack(*link) for link in (self.root, *links)))
            first, *others = _parts(top, appended=True)
            self.root = self._new(first)
            grown = self._added(others)

    def remove(self, name: bytes) -> None:
        """Remove `name`, which must be in the tree."""
        self._remove(self.root, name)
        top = self.touched[self.root.id]
        if not top.leaf and not top.names:
            top = self.touched[self.root.id] = Node.of(True, [], b"")
        while not top.leaf and len(top.names) == 1:
            self._drop(self.root.id)
            self.root = top.link(0)
            top = self.node(*self.root)

    def seal(self, write: Callable[[int, Node], bytes]) -> Link:
        """Write the changed nodes, children first, and return the new root; `write` returns a node's tag."""
        return Link(self.root.id, self._seal(self.root, write))

    def _seal(self, link: Link, write: Callable[[int, Node], bytes]) -> bytes:
        node = self.touched.get(link.id)
        if node is None:
            return link.tag
        if not node.leaf:
            items = bytearray(node.items)
            for place in self._touched_places(node):
                child = node.link(place)
                LINK.pack_into(items, place * LINK.size, child.id, self._seal(child, write))
            node = node.with_items(bytes(items))
        self.replaced.append(link.tag)
        return write(link.id, node)

    def _touched_places(self, node: Node) -> list[int]:
        touched = self.touched
        rows = unpack(">" + "Q16x" * len(node.names), node.items)
        return [place for place, row in enumerate(rows) if row in touched]

    def _new(self, node: Node) -> Link:
        row = self._allot()
        self.touched[row] = node
        return Link(row, bytes(16))

    def _drop(self, row: int) -> None:
        self.touched.pop(row, None)
        self.gone.add(row)

    def _update(self, link: Link, names: Sequence[bytes], change: Change) -> list[tuple[bytes, Link]]:
        """Change entries below `link`; return bounds and links of new right neighbours where it was split."""
        node = self.node(*link)
        new = (
            self._updated_leaf(node, names, change)
            if node.leaf
            else self._updated_children(node, names, change)
        )
        # Keys that come in order fill their leaves instead of leaving half of each empty.
        appended = new.count > node.count and new.names[: len(node.names)] == node.names
        self.touched[link.id], *others = _parts(new, appended=appended)
        return self._added(others)

    @staticmethod
    def _updated_leaf(node: Node, names: Sequence[bytes], change: Change) -> Node:
        items, width, count = node.items, node.width, node.count
        if len(names) == 1 and (start := node.start(names[0])) >= 0:  # as most writes that the root had
            end = start + width
            return node.with_items(items[:start] + change(names[0], items[start:end]) + items[end:])
        known = node.names
        new_names: list[bytes] = []
        new_items: list[bytes] = []
        start = at = 0  # what is known, and what is asked for, from here on is still to be taken over
        while at < len(names):
            name = names[at]
            place = bisect_left(known, name, start)
            new_names += known[start:place]
            new_items.append(items[start * width : place * width])
            start = place
            if place < count and known[place] == name:
                start, end = place + 1, at + 1
                new_items.append(change(name, items[place * width : start * width]))
            else:  # it is new, and so are the names behind it that are less than the next known one
                end = bisect_left(names, known[place], at) if place < count else len(names)
                new_items += map(change, names[at:end], repeat(None))
            new_names += names[at:end]
            at = end
        new_items.append(items[start * width :])
        items = b"".join(new_items)
        if len(new_names) == start:  # all of them were there
            return node.with_items(items)
        return Node.of(True, new_names + known[start:], items)

    def _updated_children(self, node: Node, names: Sequence[bytes], change: Change) -> Node:
        bounds = node.names
        grown: list[tuple[int, list[tuple[bytes, Link]]]] = []
        start = 0
        while start < len(names):
            place = _child(bounds, names[start])
            end = bisect_left(names, bounds[place + 1], start) if place + 1 < len(bounds) else len(names)
            more = self._update(node.link(place), names[start:end], change)
            if more:
                grown.append((place + 1, more))
            start = end
        for place, more in reversed(grown):  # from the right, so that the places before it stay as they are
            for bound, link in reversed(more):
                node = node.inserted(place, bound, LINK.pack(*link))
        return node

    def _added(self, nodes: Sequence[Node]) -> list[tuple[bytes, Link]]:
        return [(node.names[0], self._new(node)) for node in nodes]

    def _remove(self, link: Link, name: bytes) -> None:
        node = self.node(*link)
        if node.leaf:
            self.touched[link.id] = node.removed(bisect_left(node.names, name))
            return
        place = _child(node.names, name)
        child = node.link(place)
        self._remove(child, name)
        shrunk = self.touched[child.id]
        if not shrunk.names:
            self._drop(child.id)
            node = node.removed(place)
        elif shrunk.size < _MIN_NODE_BYTES and len(node.names) > 1:
            node = self._merged(node, place)
        self.touched[link.id] = node

    def _merged(self, node: Node, place: int) -> Node:
        """Merge the child at `place` with a neighbour, if both together leave room for more."""
        left = place - 1 if place else place
        first, second = node.link(left), node.link(left + 1)
        joined = self.node(*first).joined(self.node(*second), node.names[left + 1])
        if joined.size > _MERGED_BYTES:
            return node
        self.touched[first.id] = joined
        self._drop(second.id)
        return node.removed(left + 1)


def _parts(node: Node, *, appended: bool) -> list[Node]:
    """Return `node`, in parts where it is too large; all but the last are full where names were appended."""
    count, least = node.count, 1 if node.leaf else 2
    if count < 2 * least or node.size <= MAX_NODE_BYTES:
        return [node]
    if not appended:
        cut = _middle(node, least)
        return [*_parts(node.part(0, cut), appended=False), *_parts(node.part(cut, count), appended=False)]
    parts, start, size = [], 0, 0
    for place, name in enumerate(node.names):
        size += len(name) + 1 + node.width
        if size > MAX_NODE_BYTES - NODE_HEAD.size and least <= place - start and least <= count - place:
            parts.append(node.part(start, place))
            start, size = place, len(name) + 1 + node.width
    return [*parts, node.part(start, count)]


def _middle(node: Node, least: int) -> int:
    """Return where to cut a node so that both parts have about as many bytes."""
    half, seen = node.size // 2, 0
    for place, name in enumerate(node.names):
        seen += len(name) + 1 + node.width
        if seen >= half:
            return min(max(place, least), len(node.names) - least)
    return len(node.names) - least
