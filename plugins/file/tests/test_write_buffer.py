"""Writes stand in the root before they come into the tree: nobody can tell, and a root put back alone is found."""

from __future__ import annotations

import random
import shutil
import sqlite3
import sys
from contextlib import closing
from datetime import UTC, datetime

import pytest
from sampling import crossed, sample
from strongroom.encryption.keys import generate_key
from strongroom.errors import SecretNotFoundError, TamperedError
from strongroom_file import FileSecretProvider
from strongroom_file.store import transaction
from strongroom_file.store.write_buffer import NO_WRITES, WRITE, Write, WriteBuffer

KEY = generate_key()
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def store(tmp_path):
    return tmp_path / "store"


@pytest.fixture
def provider(store):
    with FileSecretProvider(store, KEY, max_versions=3) as provider:
        yield provider


def _recent(provider):
    return provider._session.read(lambda view: view.root.recent)


def _rows(store, table):
    with closing(sqlite3.connect(store)) as connection:
        return [row for (row,) in connection.execute(f"SELECT id FROM {table}")]


def _settle(provider):
    """Write other keys until the root has had to make room."""
    number = 0
    while _recent(provider).size > 200 or not number:
        provider.set_secret(f"filler/{number % 90}", "x")
        number += 1


def test_writes_are_packed_as_they_were_made():
    """Names may come more than once; what is packed and unpacked is the same."""
    writes = [(name, Write(7, at, bytes(16), -at, 3)) for at, name in enumerate([b"b", b"a", b"b"], 1)]
    recent = NO_WRITES
    for name, write in writes:
        recent = recent.added(name, write)
    again = WriteBuffer.unpack(recent.pack())
    assert recent.in_order() == again.in_order() == writes
    assert again.writes == recent.writes == {b"b": (writes[0][1], writes[2][1]), b"a": (writes[1][1],)}
    assert again.size == len(recent.pack()) == 6 + 5 + 3 * WRITE.size
    assert again.without(b"b").in_order() == writes[1:2]
    assert again.without(b"b").without(b"a").pack() == NO_WRITES.pack()
    assert WriteBuffer.unpack(NO_WRITES.pack()).writes == {}


def test_a_batch_beyond_the_root_comes_to_the_same_as_each_write(tmp_path):
    """Old keys and new ones, written and staged before: the same values, versions and times, and a sound store."""
    first = {f"app/{number}": f"first {number}" for number in range(0, 900, 3)}
    second = {f"app/{number}": f"second {number}" for number in range(700)}
    third = {key: f"third of {key}" for key in [*second, "app/\u00fc", "zz/" + "x" * 300]}

    def fill(name, write):
        with FileSecretProvider(tmp_path / name, KEY, max_versions=2, clock=lambda: NOON) as made:
            made.set_secret("app/5", "alone")
            made.stage_secret("app/6", "pending")
            made.set_secret("other", "in the root")
            for batch in (first, second, third):
                write(made, batch)
            assert made.verify() == []
            made.close()  # what follows is read from the file
            keys = made.list_secrets()
            found = made.get_secrets(keys)
            versions = {
                key: [
                    (one.state, one.created_at, made.get_secret_version(key, one.version))
                    for one in made.list_versions(key)
                ]
                for key in keys
            }
            described = {key: made.describe_secret(key) for key in keys}
            return found, versions, {key: (one.created_at, one.updated_at) for key, one in described.items()}

    def each(made, batch):
        for key, value in batch.items():
            made.set_secret(key, value)

    together = fill("together", lambda made, batch: made.set_secrets(batch))
    assert together == fill("each", each)
    assert together[0] == {"other": "in the root", "app/5": together[0]["app/5"]} | first | second | third


def test_no_nonce_of_a_batch_is_used_twice(provider, store):
    """Not even for the same value."""
    provider.set_secrets({f"app/{number:05d}": "the same" for number in range(500)})
    with closing(sqlite3.connect(store)) as connection:
        nonces = [body[:12] for (body,) in connection.execute("SELECT body FROM value")]
    assert len(set(nonces)) == len(nonces) == 500


def test_a_large_batch_costs_little_for_each_secret(provider):
    """Calls are counted, and there are more of them where each secret goes into the tree by itself."""
    batches = [{f"app/{number:05d}/{batch}": "x" for number in range(1000)} for batch in range(2)]
    provider.set_secrets(batches[0])
    calls = 0

    def count(_frame, event, _what):
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        provider.set_secrets(batches[1])
    finally:
        sys.setprofile(None)
    assert calls / 1000 < 45


def test_versions_are_the_same_before_and_after(provider, store):
    """Exactly as many as are to be kept, whether the tree knows of them or not."""
    for number in range(5):
        provider.set_secret("key", str(number))
        there = [provider.get_secret_version("key", v.version) for v in provider.list_versions("key")]
        assert there == [str(at) for at in range(number, max(number - 3, -1), -1)]
    before = provider.list_versions("key"), provider.describe_secret("key")
    assert len(_recent(provider).writes[b"key"]) == 5
    oldest = _rows(store, "value")[0]
    gone = f"{before[1].version.split('-')[0]}-{oldest}"
    with pytest.raises(SecretNotFoundError):
        provider.get_secret_version("key", gone)
    _settle(provider)
    assert b"key" not in _recent(provider).writes
    assert (provider.list_versions("key"), provider.describe_secret("key")) == before
    assert oldest not in _rows(store, "value")
    assert provider.verify() == []


@pytest.mark.parametrize("settled", [False, True], ids=["in the root", "in both"])
def test_delete_and_rekey(provider, settled):
    """A key goes from the root and from the tree; a rekey seals what stands in either."""
    provider.set_secret("key", "old")
    provider.stage_secret("staged", "pending")
    if settled:
        _settle(provider)
    provider.set_secret("key", "new")
    provider.set_secret("other", "stays")
    provider.set_secret("staged", "current")
    assert {b"key", b"other", b"staged"} <= _recent(provider).writes.keys()
    provider.delete_secret("key")
    assert b"key" not in _recent(provider).writes
    assert "key" not in provider.list_secrets()
    with pytest.raises(SecretNotFoundError):
        provider.get_secret("key")
    seen = []
    new = generate_key()
    provider.rekey(new, progress=lambda done, total: seen.append((done, total)))
    names = provider.list_secrets()
    assert seen == [(at, len(names)) for at in range(1, len(names) + 1)]
    assert provider.get_secrets(["other", "staged", "key"]) == {"other": "stays", "staged": "current"}
    assert [version.state for version in provider.list_versions("staged")] == ["current", "pending"]
    assert provider.verify() == []
    provider.set_secret("key", "again")
    assert [version.state for version in provider.list_versions("key")] == ["current"]


def _set(provider):
    provider.set_secret("key", "new")


def _set_many(provider):
    provider.set_secrets({f"many/{number}": "new" for number in range(100)})


def _promote(provider):
    version = provider.list_versions("key")[0].version
    provider.promote_version("key", version, expected_version=provider.describe_secret("key").version)


COMMITS = [
    _set,
    _set_many,
    _promote,
    lambda provider: provider.delete_secret("key"),
    lambda provider: provider.delete_secret("recent"),
    lambda provider: provider.stage_secret("key", "next"),
    lambda provider: provider.discard_version("key", provider.list_versions("key")[0].version),
    lambda provider: provider.rekey(KEY),
]
NAMES = ["set", "set many", "promote", "delete", "delete from the root", "stage", "discard", "rekey"]


@pytest.mark.parametrize(
    ("commit", "later"),
    crossed(
        [pytest.param(commit, id=name) for commit, name in zip(COMMITS, NAMES, strict=True)],
        [pytest.param(0, id="at once"), pytest.param(2, id="later")],
    ),
)
def test_a_root_put_back_alone_is_found_by_every_read(provider, store, commit, later):
    """Whatever was written since: who opens the store then is given no old value and no old list."""
    provider.set_secret("key", "old")
    provider.stage_secret("key", "pending")
    provider.set_secret("recent", "old")
    provider.close()
    with closing(sqlite3.connect(store)) as connection:
        (root,) = connection.execute("SELECT body FROM root").fetchone()
    commit(provider)
    for number in range(later):
        provider.set_secret("later", str(number))
    provider.close()
    with closing(sqlite3.connect(store)) as connection:
        connection.execute("UPDATE root SET body=?", (root,))
        connection.commit()
    with FileSecretProvider(store, KEY) as fresh:
        assert fresh.verify()
        for call in (
            lambda: fresh.get_secret("key"),
            lambda: fresh.get_secret("never"),
            fresh.list_secrets,
            lambda: fresh.list_versions("key"),
            lambda: fresh.set_secret("key", "value"),
        ):
            with pytest.raises(TamperedError):
                call()


def test_a_write_where_the_index_is_damaged_is_refused(provider, store, tmp_path):
    """It would be acknowledged and could never come into the tree. Elsewhere writes go on."""
    provider.set_secrets({f"key/{number:03d}": "value" for number in range(200)})
    provider.close()
    for leaf in range(2, 9):
        copy = tmp_path / f"copy-{leaf}"
        shutil.copy(store, copy)
        with closing(sqlite3.connect(copy)) as connection:
            rows = [row for (row,) in connection.execute("SELECT id FROM node ORDER BY id")]
            connection.execute("DELETE FROM node WHERE id=?", (rows[leaf % len(rows)],))
            connection.commit()
        with FileSecretProvider(copy, KEY) as damaged:
            refused = 0
            for number in range(0, 200, 10):
                name = f"key/{number:03d}"
                try:
                    damaged.set_secret(name, "new")
                except TamperedError:
                    refused += 1
                    with pytest.raises(TamperedError):
                        damaged.describe_secret(name)
                else:
                    assert damaged.get_secret(name) == "new"
            assert refused


class Model:
    """What a store has to hold: by key its versions, the oldest first. Every call is made on both."""

    def __init__(self, provider, chance):
        self.provider = provider
        self.chance = chance
        self.keys: dict[str, list[tuple[str, str]]] = {}

    def pick(self, state):
        """Return a key with a version in that state, and the place of its first such version."""
        found = [
            (key, [at for _, at in versions].index(state))
            for key, versions in sorted(self.keys.items())
            if state in [at for _, at in versions]
        ]
        return self.chance.choice(found) if found else (None, None)

    def some_key(self):
        return f"k{self.chance.randrange(9)}"

    def make_current(self, key, value, others):
        states = [(old, "previous" if state == "current" else state) for old, state in others]
        states.append((value, "current"))
        states.sort(key=lambda version: int(version[0]))  # a value is the number of the turn that it is of
        while len(states) > 3 and "previous" in [state for _, state in states]:
            del states[[state for _, state in states].index("previous")]
        self.keys[key] = states

    def set(self, value):
        key = self.some_key()
        self.provider.set_secret(key, value)
        self.make_current(key, value, self.keys.get(key, []))

    def set_many(self, value):
        keys = self.chance.sample([f"k{number}" for number in range(9)], 3)
        self.provider.set_secrets(dict.fromkeys(keys, value))
        for key in keys:
            self.make_current(key, value, self.keys.get(key, []))

    def stage(self, value):
        key = self.some_key()
        self.provider.stage_secret(key, value)
        self.keys.setdefault(key, []).append((value, "pending"))

    def version(self, key, value):
        """Return the id of the version with that value."""
        return next(
            version.version
            for version in self.provider.list_versions(key)
            if self.provider.get_secret_version(key, version.version) == value
        )

    def promote(self, _):
        key, place = self.pick("pending")
        if key is not None and "current" in [state for _, state in self.keys[key]]:
            value, _ = self.keys[key].pop(place)
            current = self.provider.describe_secret(key).version
            self.provider.promote_version(key, self.version(key, value), expected_version=current)
            self.make_current(key, value, self.keys[key])

    def discard(self, _):
        key, place = self.pick("pending")
        if key is not None:
            value, _ = self.keys[key].pop(place)
            self.provider.discard_version(key, self.version(key, value))
            if not self.keys[key]:
                del self.keys[key]

    def delete(self, _):
        key, _ = self.pick("current")
        if key is not None:
            self.provider.delete_secret(key)
            del self.keys[key]

    def close(self, _):
        self.provider.close()

    def check(self):
        current = {
            key: value for key, states in self.keys.items() for value, state in states if state == "current"
        }
        assert self.provider.list_secrets() == sorted(current)
        assert self.provider.get_secrets(self.keys) == current
        for key, states in self.keys.items():
            found = [
                (self.provider.get_secret_version(key, version.version), version.state)
                for version in self.provider.list_versions(key)
            ]
            assert found == states[::-1], key
        assert self.provider.verify() == []


@pytest.mark.parametrize("seed", sample(range(4), one_in=2))
def test_chance(provider, monkeypatch, seed):
    """Calls of all kinds come to the same as in a plain model, whenever the root has to make room."""
    monkeypatch.setattr(transaction, "MAX_NODE_BYTES", 150 * (seed + 1))
    model = Model(provider, random.Random(seed))
    calls = [model.set] * 3 + [
        model.set_many,
        model.stage,
        model.promote,
        model.discard,
        model.delete,
        model.close,
    ]
    for turn in range(250):
        model.chance.choice(calls)(str(turn))
        if turn % 10 == 0:
            model.check()
    model.check()
