"""What changes in a store is seen by comparing two states of its tree."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading

import pytest
from sampling import sample
from strongroom.encryption.keys import generate_key
from strongroom.errors import BackendUnavailableError, DecryptionError
from strongroom_file import FileSecretProvider
from strongroom_file.watch.changes import ChangeWatcher, Picture
from strongroom_file.watch.notices import waiting_for

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
    return {
        key: metadata.version for key, metadata in provider.describe_secrets(provider.list_secrets()).items()
    }


@pytest.mark.parametrize("seed", sample([1, 2], one_in=2))
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


class Waits:
    """Takes the place of what a watcher waits with: says what it is given to say, and keeps how long it was to wait."""

    def __init__(self, clock, *answers):
        self.clock, self.answers, self.seconds = clock, list(answers), []

    def wait(self, seconds):
        if not self.answers:
            self.watcher._ended = True
            return False
        self.seconds.append(seconds)
        self.clock[0] += seconds
        return self.answers.pop(0)

    def wake(self):
        pass

    def close(self):
        self.closed = True


def watch_with(store, path, monkeypatch, *answers):
    """Run a watcher's thread here, and return the pauses that it made and how often it asked the store."""
    clock, looks = [100.0], []
    monkeypatch.setattr("strongroom_file.watch.changes.time.monotonic", lambda: clock[0])

    def read(compare):
        looks.append(clock[0])
        return store._read(compare, None, lambda: None)

    watcher = ChangeWatcher(path, read)
    watcher._look()
    waits = Waits(clock, *answers)
    waits.watcher, watcher._thread = watcher, threading.current_thread()
    watcher._run(waits)
    assert waits.closed
    return waits.seconds, len(looks) - 1


def test_an_idle_watcher_wakes_up_once_a_second(store, tmp_path, monkeypatch):
    """A file's time is coarse, so the store itself is asked then."""
    store.set_secret("a", "1")
    pauses, looks = watch_with(store, tmp_path / "s.enc", monkeypatch, *[False] * 10)
    assert (pauses, looks) == ([1.0] * 10, 10)


def test_what_was_written_is_looked_at_until_it_must_have_been_committed(store, tmp_path, monkeypatch):
    store.set_secret("a", "1")
    pauses, looks = watch_with(store, tmp_path / "s.enc", monkeypatch, True, *[False] * 9)
    assert pauses == [1.0, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.0, 1.0]
    assert looks == 10


def test_files_that_seem_changed_are_looked_at_where_the_system_says_nothing(store, tmp_path, monkeypatch):
    """Ticks come more often than once a second, and only ask where the files seem changed."""
    store.set_secret("a", "1")
    watcher = ChangeWatcher(tmp_path / "s.enc", lambda read: store._read(read, None, lambda: None))
    watcher._look()
    assert watcher._signature() == watcher._seen
    with FileSecretProvider(tmp_path / "s.enc", KEY) as other:
        other.set_secret("a", "2")
        assert watcher._signature() != watcher._seen


@pytest.fixture(params=["as this system tells", "by ticks"])
def waiting(request, tmp_path, monkeypatch):
    if request.param == "by ticks":
        monkeypatch.setattr("strongroom_file.watch.notices.sys.platform", "other")
    made = waiting_for(tmp_path / "s.enc")
    yield made
    made.close()


def test_a_wait_ends_as_somebody_wakes_it_and_after_its_time(waiting):
    assert not waiting.wait(0.001)
    waiting.wake()
    assert waiting.wait(300)
    waiting.close()
    waiting.wake()
    waiting.close()


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel of Linux gives notices")
def test_the_kernel_says_what_was_written_and_nothing_of_other_files(tmp_path):
    waiting, path = waiting_for(tmp_path / "s.enc"), tmp_path / "s.enc"
    try:
        (tmp_path / "audit.log").write_bytes(b"another file")
        assert not waiting.wait(0)
        for change in (
            lambda: path.write_bytes(b"it is made"),
            lambda: path.write_bytes(b"it is written"),
            lambda: (tmp_path / "s.enc-wal").write_bytes(b"so is its log"),
            lambda: (tmp_path / "audit.log").replace(path),
            lambda: path.write_bytes(b"the one that came in its place is written"),
        ):
            change()
            assert waiting.wait(300)
            while waiting.wait(0):
                pass
        assert not waiting.wait(0.001)
    finally:
        waiting.close()


AT_EXIT = """
import atexit, sys, threading
atexit.register(lambda: (waiting.wake(), thread.join(60), print(ended)))  # the first, and so it runs last
from pathlib import Path
from strongroom_file.watch.notices import waiting_for

ended = []
waiting = waiting_for(Path(sys.argv[1]))
thread = threading.Thread(target=lambda: ended.append(waiting.wait(120)), daemon=True)
thread.start()
"""


def test_what_a_thread_waits_with_outlasts_the_end_of_the_process(tmp_path):
    """What is registered for the end runs while the thread still waits."""
    ran = subprocess.run(
        [sys.executable, "-c", AT_EXIT, str(tmp_path / "s.enc")], capture_output=True, text=True, check=False
    )
    assert (ran.stdout, ran.stderr) == ("[True]\n", "")


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel of Linux gives notices")
def test_a_folder_that_is_not_there_is_looked_at_by_ticks(tmp_path):
    assert type(waiting_for(tmp_path / "none" / "s.enc")) is not type(waiting_for(tmp_path / "s.enc"))


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
            more.wait(300)
            os.write(writing, ",".join(heard).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        assert pipe.read() == "child"
    os.waitpid(pid, 0)
    assert more.wait(300)
    assert heard == ["child"]
    watcher = store._watcher
    store.close()
    watcher._thread.join(300)
    assert not watcher._thread.is_alive()


def test_a_subscription_that_begins_as_the_provider_is_closed_ends(store, monkeypatch):
    """Its thread would live on, and no later `close` knew of it."""
    watchers, subscribe = [], ChangeWatcher.subscribe

    def closed_meanwhile(watcher, callback):
        watchers.append(watcher)
        store.close()
        return subscribe(watcher, callback)

    store.set_secret("a", "1")
    monkeypatch.setattr(ChangeWatcher, "subscribe", closed_meanwhile)
    store.subscribe_changes(lambda _: None)
    watchers[0]._thread.join(60)
    assert not watchers[0]._thread.is_alive()


def test_without_a_thread_nobody_is_taken_for_a_subscriber(store, monkeypatch):
    """The machine has no more of them for a moment: who tries again hears."""
    heard, more = [], threading.Event()

    def hear(changes):
        heard.extend(one.key for one in changes)
        more.set()

    def refuse(_):
        raise RuntimeError("can't start new thread")

    store.set_secret("a", "1")
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(BackendUnavailableError, match="can't start new thread"):
            store.subscribe_changes(hear)
    store.subscribe_changes(hear)
    store.set_secret("b", "2")
    assert more.wait(300)
    assert heard == ["b"]


def test_a_store_that_cannot_be_read_is_said_once_with_its_path_and_again_when_it_can(tmp_path, caplog):
    """Whoever listens is asked to look for itself."""
    fails, heard = [], []

    def read(look):
        if fails:
            raise DecryptionError("another key")

    watcher = ChangeWatcher(tmp_path / "store.enc", read)
    subscription = watcher.subscribe(heard.append)
    fails.append(True)
    watcher._try_to_look()
    watcher._try_to_look()
    assert heard == [[]]
    fails.clear()
    watcher._try_to_look()
    subscription.close()
    assert caplog.messages == [
        f"the store {tmp_path}/store.enc cannot be asked for changes (DecryptionError); it is tried again",
        f"the store {tmp_path}/store.enc can be asked for changes again",
    ]
