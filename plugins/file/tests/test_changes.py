"""What changes in a store is seen by comparing two states of its tree."""

from __future__ import annotations

import os
import random
import threading

import pytest
from strongroom.encryption.keys import generate_key
from strongroom_file import FileSecretProvider
from strongroom_file.changes import ChangeWatcher, Picture

KEY = generate_key()


class Looker:
    """Compares states when the test says so, and counts the nodes that were read for it."""

    def __init__(self, provider):
        self.provider = provider
        self.picture = Picture()
        self.read = 0

    def look(self):
        def compare(view):
            load = view.load_fresh

            class Counting(type(view)):
                def load_fresh(_self, row, tag):
                    self.read += 1
                    return load(row, tag)

            counting = Counting(view.cursor, view.sealer, view.state)
            now = Picture.of(counting, self.picture)
            found = now.changes_since(self.picture, view)
            self.picture = now
            return found

        self.read = 0
        return [(one.key, one.kind, one.version) for one in self.provider._read(compare, None, list)]


@pytest.fixture
def store(tmp_path):
    with FileSecretProvider(tmp_path / "s.enc", KEY, max_versions=3) as provider:
        yield provider


def versions(provider):
    return {key: told.version for key, told in provider.describe_secrets(provider.list_secrets()).items()}


@pytest.mark.parametrize("seed", [1, 2])
def test_what_two_states_differ_by_is_what_a_plain_model_says(store, tmp_path, seed):
    """Sets, batches, deletes, promotions, in any order and number between two looks."""
    chance = random.Random(seed)
    keys = [f"folder{number % 7}/key/{number:03}" for number in range(250)]
    looker, known = Looker(store), {}
    with FileSecretProvider(tmp_path / "s.enc", KEY, max_versions=3) as other:
        store.set_secrets(dict.fromkeys(keys[:200], "0"))
        known = versions(store)
        assert {key for key, *_ in looker.look()} == set(keys[:200])
        for number in range(40):
            for _ in range(chance.choice([0, 1, 1, 2, 60])):
                key = chance.choice(keys)
                kind = chance.randrange(5)
                if kind == 0 and key in other.list_secrets(key):
                    other.delete_secret(key)
                elif kind == 1:
                    staged = other.stage_secret(key, "staged")
                    found = other.describe_secrets([key]).get(key)
                    other.promote_version(key, staged, expected_version=found and found.version)
                elif kind == 2:
                    other.discard_version(key, other.stage_secret(key, "dropped"))
                else:
                    other.set_secret(key, str(number))
            now = versions(store)
            wanted = {(key, "set", now[key]) for key in now if known.get(key) != now[key]}
            wanted |= {(key, "deleted", None) for key in known if key not in now}
            assert set(looker.look()) == wanted
            known = now


def test_a_look_reads_what_changed_and_not_the_whole_store(store):
    """However many secrets there are."""
    store.set_secrets({f"key/{number:04}": "0" for number in range(2000)})
    looker = Looker(store)
    looker.look()
    whole = looker.read
    store.set_secret("key/1000", "1")
    assert [key for key, *_ in looker.look()] == ["key/1000"]
    assert (whole > 40, looker.read) == (True, 0)  # the write stands in the root
    store.delete_secret("key/1000")
    assert [kind for _, kind, _ in looker.look()] == ["deleted"]
    assert looker.read <= 4


def test_a_rekey_is_no_change_and_a_restore_is(store, tmp_path):
    """Versions are compared, not bytes."""
    store.set_secrets({"a": "1", "b": "1"})
    store.backup(tmp_path / "backup")
    looker = Looker(store)
    looker.look()
    new = generate_key()
    store.rekey(new)
    with FileSecretProvider(tmp_path / "s.enc", new) as again:
        looker.provider = again
        assert looker.look() == []
        again.set_secret("c", "1")
        looker.look()
        again.restore(tmp_path / "backup", key=KEY)
        assert ("c", "deleted", None) in looker.look()


def test_a_watcher_looks_where_the_files_changed_and_once_a_second_besides(store, tmp_path, monkeypatch):
    """A file's time is coarse."""
    store.set_secret("a", "1")
    now = [0.0]
    monkeypatch.setattr("strongroom_file.changes.time.monotonic", lambda: now[0])
    watcher = ChangeWatcher(tmp_path / "s.enc", lambda read: store._read(read, None, lambda: None))
    watcher._look()
    assert not watcher._seems_changed()
    now[0] += 1.0
    assert watcher._seems_changed()
    watcher._look()
    with FileSecretProvider(tmp_path / "s.enc", KEY) as other:
        other.set_secret("a", "2")
        assert watcher._seems_changed()


def test_a_subscription_ends_with_the_provider_and_not_in_it_for_a_forked_child(store):
    """The child's own subscription works; its parent's goes on."""
    heard, more = [], threading.Event()

    def hear(changes):
        heard.extend(one.key for one in changes)
        more.set()

    store.subscribe_changes(hear)
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            store.subscribe_changes(hear)
            store.set_secret("child", "1")
            more.wait(20)
            os.write(writing, ",".join(heard).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as told:
        assert told.read() == "child"
    os.waitpid(pid, 0)
    assert more.wait(20)
    assert heard == ["child"]
    watcher = store._watcher
    store.close()
    watcher._thread.join(20)
    assert not watcher._thread.is_alive()
