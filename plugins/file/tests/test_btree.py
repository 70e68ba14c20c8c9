"""The tree does what a sorted dictionary does, whatever is put into it and taken out."""

from __future__ import annotations

from itertools import count
from random import Random
from struct import error

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sampling import sample
from strongroom_file.store import version_history
from strongroom_file.store.btree import TreeDraft, find, find_value, leaves
from strongroom_file.store.format import ENTRY, ENTRY_VALUE, LINK, MAX_NODE_BYTES, Link, Node, StoredVersion

ENTRY_BYTES = ENTRY.size


class Store:
    """Nodes in a dictionary; a tag is a running number, so a stale link is found at once."""

    def __init__(self):
        self.rows = {1: (self.tag(0), Node.of(True, [], b""))}
        self.top = Link(1, self.tag(0))
        self.ids = count(2)
        self.tags = count(1)
        self.known = {}

    @staticmethod
    def tag(number):
        return number.to_bytes(16, "big")

    def load(self, row, tag):
        found, node = self.rows[row]
        assert found == tag
        return node

    def write(self, row, node):
        tag = self.tag(next(self.tags))
        self.rows[row] = (tag, Node.unpack(node.pack()))
        return tag

    def commit(self, draft):
        for row in draft.gone:
            self.rows.pop(row, None)
        self.top = draft.seal(self.write)

    def draft(self):
        return TreeDraft(self.load, self.top, lambda: next(self.ids))

    def names(self, prefix=b""):
        return [
            name
            for leaf in leaves(self.load, self.top, prefix)
            for name in leaf.names
            if name.startswith(prefix)
        ]

    def reachable(self, link, low=b"", high=None):
        node = self.load(*link)
        yield link.id
        names = node.names if node.leaf else [low, *node.names[1:]]
        assert names == sorted(set(names))
        assert all(low <= name and (high is None or name < high) for name in names)
        if not node.leaf:
            bounds = [*names, high]
            for place, child in enumerate(node.links()):
                yield from self.reachable(child, bounds[place], bounds[place + 1])


def entry(number):
    return number.to_bytes(ENTRY_BYTES, "big")


names = st.one_of(
    st.integers(0, 60).map(lambda number: f"app/{number:03d}".encode()),
    st.integers(0, 99).map(lambda number: (f"{number:02d}/" + "x" * 1500).encode()),
    st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=8).map(str.encode),
)
steps = st.lists(
    st.tuples(st.sampled_from(["put", "put", "remove", "commit", "put many"]), names, st.integers(1, 200)),
    min_size=40,
    max_size=300,
)


def near(name, how_many):
    """Names around one, some of which are there already, and some of which are long."""
    return sorted(
        {b"%b%03d" % (name[:3], number * 7 % 211) + b"y" * (number % 9 * 40) for number in range(how_many)}
    )


@pytest.mark.parametrize("examples", [8, pytest.param(300, marks=pytest.mark.torture)])
def test_it_is_a_sorted_dictionary(examples):
    """After any steps the tree holds what a dictionary holds, in order, and no row that nothing leads to."""
    every = list(HealthCheck)
    settings(derandomize=True, deadline=None, max_examples=examples, suppress_health_check=every)(
        given(steps)(_check_after)
    )()


def _check_after(done):
    store, model = Store(), {}
    draft = store.draft()
    for turn, (what, name, how_many) in enumerate(done):
        if what == "put":
            draft.put(name, entry(turn))
            model[name] = entry(turn)
        elif what == "remove" and name in model:
            draft.remove(name)
            del model[name]
        elif what == "put many":
            many = near(name, how_many)
            asked = []
            draft.update(many, lambda *known, asked=asked, turn=turn: asked.append(known) or entry(turn))
            assert asked == [(name, model.get(name)) for name in many]
            model |= dict.fromkeys(many, entry(turn))
        elif what == "commit":
            store.commit(draft)
            draft = store.draft()
    store.commit(draft)
    assert store.names() == sorted(model)
    for name in {name for _, name, _ in done} | set(model):
        assert find(store.load, store.top, name) == model.get(name)
    for prefix in (b"app/0", b"1", b"app/03", b"nothing"):
        assert store.names(prefix) == sorted(name for name in model if name.startswith(prefix))
    assert sorted(store.reachable(store.top)) == sorted(store.rows)


def test_it_stays_shallow_and_shrinks():
    """Ten thousand keys, put and removed in an awkward order, leave no empty or overfull node behind."""
    store = Store()
    draft = store.draft()
    order = [(number * 7919) % 10_007 for number in range(10_007)]
    for number in order:
        draft.put(f"key/{number:05d}".encode(), entry(number))
    store.commit(draft)
    assert store.names() == [f"key/{number:05d}".encode() for number in range(10_007)]
    assert all(node.size <= MAX_NODE_BYTES for _, node in store.rows.values())
    depth, link = 1, store.top
    while not (node := store.load(*link)).leaf:
        depth, link = depth + 1, node.link(0)
    assert depth <= 3
    full = len(store.rows)
    draft = store.draft()
    for number in order[:9_900]:
        draft.remove(f"key/{number:05d}".encode())
    store.commit(draft)
    assert len(store.rows) < full / 10
    assert len(store.names()) == 107


LONG = "x" * 900
"""So that a few hundred keys make a tree of several levels."""


@pytest.mark.parametrize("seed", sample(range(4), one_in=2))
def test_keys_that_come_back_where_all_were_removed(seed):
    """They are found again, among nodes that had other names only, and so are those around them.

    So they are by reads that know all nodes, and by those that know none.
    """
    store, model, chance = Store(), {}, Random(seed)
    every = [f"key/{number:03d}/{LONG}".encode() for number in range(300)]
    for turn in range(60):
        start = chance.randrange(len(every))
        some = every[start : start + chance.randrange(len(every))]
        back = sorted(chance.sample(some, len(some) // 9)) if turn else every
        draft = store.draft()
        for name in some:
            if name in model:
                draft.remove(name)
                del model[name]
        store.commit(draft)
        draft = store.draft()
        for name in back:
            draft.put(name, entry(turn))
        store.commit(draft)
        model |= dict.fromkeys(back, entry(turn))
        store.known = dict(store.rows.values()) if turn % 2 else {}
        top = store.load(*store.top)
        for name in every:
            found = model.get(name)
            assert find(store.load, store.top, name) == found
            if found is not None:
                assert find_value(store, top, name) == ENTRY_VALUE.unpack_from(found)
        assert store.names() == sorted(model)
        assert sorted(store.reachable(store.top)) == sorted(store.rows)


def test_a_name_is_found_as_a_whole():
    """Neither its parts are, nor what is longer, nor several names at once, nor anything in an empty leaf."""
    held = [b"a", b"a/b", b"ab", b"b", b"b/a"]
    packed = Node.of(True, held, b"".join(map(entry, range(5)))).pack()
    for place, name in enumerate(held):
        leaf = Node.unpack(packed)
        for _ in range(3):  # as the first search, and as those among the names that it has split
            assert find_value(None, leaf, name) == ENTRY_VALUE.unpack_from(entry(place))
        assert leaf.start(name) == Node.unpack(packed).start(name) == place * ENTRY_BYTES
    for name in (b"", b"/b", b"b/", b"aa", b"b/ab", b"c"):
        leaf = Node.unpack(packed)
        with pytest.raises(error):
            find_value(None, leaf, name)
        assert leaf.start(name) == Node.unpack(packed).start(name) == -1
    empty = Node.unpack(Node.of(True, [], b"").pack())
    assert empty.start(b"") == empty.start(b"a") == -1
    assert (empty.names, empty.keys, empty.size) == ([], [], len(empty.pack()))


@pytest.mark.parametrize("known", [0, 1, 3_000], ids=["none", "one", "many"])
def test_many_names_at_once(known):
    """They leave no node overfull and a shallow tree, wherever they go."""
    store = Store()
    draft = store.draft()
    draft.update([b"key/%05d/old" % (number * 3) for number in range(known)], lambda *_: entry(1))
    store.commit(draft)
    draft = store.draft()
    draft.update([b"key/%05d" % number for number in range(10_007)], lambda *_: entry(2))
    store.commit(draft)
    assert len(store.names()) == 10_007 + known
    assert sorted(store.reachable(store.top)) == sorted(store.rows)
    assert all(node.size <= MAX_NODE_BYTES for _, node in store.rows.values())
    sizes = [node.size for _, node in store.rows.values() if node.leaf]
    assert sum(sizes) / len(sizes) > MAX_NODE_BYTES * (0.6 if known else 0.9)
    depth, link = 1, store.top
    while not (node := store.load(*link)).leaf:
        depth, link = depth + 1, node.link(0)
    assert depth <= 3


def test_keys_in_order_fill_their_leaves():
    """Keys that come in order leave full leaves, not half-empty ones."""
    store = Store()
    draft = store.draft()
    for number in range(5_000):
        draft.put(f"key/{number:05d}".encode(), entry(number))
    store.commit(draft)
    sizes = [node.size for _, node in store.rows.values() if node.leaf]
    assert sum(sizes) / len(sizes) > MAX_NODE_BYTES * 0.9
    assert LINK.size < ENTRY_BYTES


def version(value, state=version_history.PREVIOUS):
    return StoredVersion(7, value, bytes(16), value, state)


def test_history_keeps_its_order():
    """Versions are sorted by id in whatever order they come."""
    packed = b""
    for value in (3, 1, 5, 4, 2):
        packed = version_history.added(packed, version(value))
    assert [found.value for found in version_history.versions(packed)] == [1, 2, 3, 4, 5]
    assert [found.value for found in version_history.versions(version_history.without(packed, 3))] == [
        1,
        2,
        4,
        5,
    ]
    assert version_history.without(packed, 9) == packed


def test_trimming_drops_the_oldest_previous_ones():
    """Pending versions are never dropped."""
    packed = b""
    for value, state in (
        (1, version_history.PENDING),
        (2, version_history.PREVIOUS),
        (3, version_history.PREVIOUS),
        (4, version_history.PENDING),
    ):
        packed = version_history.added(packed, version(value, state))
    kept, dropped = version_history.trimmed(packed, 1)
    assert [found.value for found in version_history.versions(kept)] == [1, 4]
    assert dropped == [2, 3]
    assert version_history.trimmed(packed, 4) == (packed, [])
