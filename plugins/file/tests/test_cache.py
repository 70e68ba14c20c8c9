"""A cache in a file: the kit for stores, many processes, and everything that can be wrong with a file."""

from __future__ import annotations

import gc
import logging
import os
import random
import re
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sampling import crossed
from strongroom import SecretProviderRegistry
from strongroom.cache import HierarchicalSecretCache
from strongroom.encryption import AESGCMEncryption, generate_key
from strongroom.errors import BackendUnavailableError, ConfigurationError, ConflictError
from strongroom.parallel import renew_after_fork
from strongroom.testing import CacheStoreConformance
from strongroom_file import FileCacheStore, FileSecretProvider
from strongroom_file.cache import store as cache
from strongroom_file.cache.database import set_aside
from strongroom_file.cache.uptime import Uptime, machine_uptime

WORKER = Path(__file__).with_name("_cache_worker.py")


class TestFileCacheStore(CacheStoreConformance):
    @pytest.fixture
    def store(self, tmp_path):
        with FileCacheStore(tmp_path / "cache.db", timeout_seconds=30) as store:
            yield store

    @pytest.fixture
    def reopened(self, tmp_path, store):
        with FileCacheStore(tmp_path / "cache.db", timeout_seconds=30) as other:
            yield other


class Clock:
    def __init__(self, now=1_800_000_000.0):
        self.now = now

    def __call__(self):
        return self.now


@pytest.fixture
def path(tmp_path):
    return tmp_path / "cache.db"


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(path, clock):
    with FileCacheStore(path, timeout_seconds=30, clock=clock) as store:
        yield store


def _start(do, path, *arguments, **streams):
    command = [sys.executable, str(WORKER), do, str(path), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **streams)


def _kill(process):
    process.kill()
    process.stdout.close()
    process.wait()


@contextmanager
def _watching(store):
    """Give a list of what is heard, and a function that waits for something in it."""
    heard: list[str | None] = []
    changed = threading.Condition()

    def hear(name):
        with changed:
            heard.append(name)
            changed.notify_all()

    def wait_for(name, times=1):
        with changed:
            return changed.wait_for(lambda: heard.count(name) >= times, 120)

    subscription = store.subscribe(hear)
    try:
        assert wait_for(None)
        yield heard, wait_for, subscription
    finally:
        subscription.close()


def _calls(store):
    def lock():
        with store.lock("a:b", ttl_seconds=1, wait_seconds=0):
            pass

    return [
        lambda: store.get("a:b"),
        lambda: store.set("a:b", b"data", 60),
        lambda: store.set_fenced("a:b", b"data", 60, 1),
        lambda: store.delete("a:b"),
        lambda: store.clear("a:"),
        lock,
    ]


# --- what it keeps, and for how long ---


def test_only_its_owner_reads_it(store, path):
    """Whatever the umask, SQLite's files beside it too."""
    old = os.umask(0)
    try:
        store.set("a:b", b"data", 60)
    finally:
        os.umask(old)
    names = sorted(os.listdir(path.parent))
    assert names == ["cache.db", "cache.db-shm", "cache.db-wal"]
    assert {stat.S_IMODE((path.parent / name).stat().st_mode) for name in names} == {0o600}


def test_what_leaves_first(path, clock):
    """What is over, then what is over the soonest, and never what was written just now."""
    with FileCacheStore(path, max_entries=3, clock=clock) as store:
        for name, life in (("long", 100), ("over", 1), ("short", 10), ("longer", 200)):
            store.set(name, b"data", life)
            clock.now += 2
        assert [name for name in ("long", "over", "short", "longer") if store.get(name)] == [
            "long", "short", "longer",
        ]  # fmt: skip
        store.set("new", b"data", 50)
        assert [name for name in ("long", "short", "longer", "new") if store.get(name)] == [
            "long", "longer", "new",
        ]  # fmt: skip
        for number in range(50):
            store.set(f"many/{number}", b"data", 1000 + number)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM entry").fetchone() == (3,)


def test_a_large_one_stays_bounded(path, clock):
    """It is not counted at each write, and yet no more than a hundredth beyond its bound."""
    with FileCacheStore(path, max_entries=300, clock=clock) as store:
        most = 0
        store.set("first", b"data", 60)
        with closing(sqlite3.connect(path)) as connection:
            for number in range(400):
                store.set(f"many/{number}", b"data", 60)
                if number % 10 == 9:
                    most = max(most, *connection.execute("SELECT count(*) FROM entry").fetchone())
    assert most <= 303


def test_lives_without_end(store):
    """The longest life is some thirty years."""
    store.set("a:b", b"data", float("inf"))
    assert store.get("a:b") == b"data"
    store.set("a:b", b"data", 0)
    assert store.get("a:b") is None
    with store.lock("a:b", ttl_seconds=float("inf"), wait_seconds=0) as token:
        assert not store.set_fenced("a:b", b"data", -1, token)


def test_a_clock_that_is_set_back(store, clock):
    """A lock from the future is nobody's; tokens grow all the same."""
    held = store.lock("a:b", ttl_seconds=60, wait_seconds=0)
    first = held.__enter__()
    clock.now -= 3600
    with store.lock("a:b", ttl_seconds=60, wait_seconds=0) as second:
        assert second > first
        held.__exit__(None, None, None)
        with pytest.raises(ConflictError):
            store.lock("a:b", ttl_seconds=60, wait_seconds=0).__enter__()


class TestTheTimeSinceTheStart:
    """A machine that says when it started: its clock may be set, and no life is longer and no lock is open."""

    @pytest.fixture
    def uptime(self):
        return {"boot": "one", "seconds": 100.0}

    @pytest.fixture
    def store(self, path, clock, uptime):
        with FileCacheStore(path, timeout_seconds=30, clock=clock, uptime=lambda: Uptime(**uptime)) as store:
            yield store

    def test_a_clock_that_is_set_back_lengthens_no_life(self, store, clock, uptime):
        store.set("a:b", b"data", 60)
        clock.now -= 3600
        uptime["seconds"] += 59
        assert store.get_with_life("a:b") == (b"data", 1)
        uptime["seconds"] += 1
        assert store.get("a:b") is None

    def test_nor_does_one_that_was_ahead_when_it_was_written(self, path, clock, uptime):
        """Attack 23: after an hour it looked as if it had just been fetched."""
        options = {"encryption": AESGCMEncryption(b"k" * 32), "stale_if_error_seconds": 7200, "wall": clock}
        with FileCacheStore(path, timeout_seconds=30, clock=clock, uptime=lambda: Uptime(**uptime)) as store:

            def read(value):
                cache = HierarchicalSecretCache(0, 300, l2=store, l2_timeout_seconds=30, **options)
                return cache.get_or_fetch("key", lambda _: value)

            clock.now += 3600
            assert read("old") == "old"
            clock.now -= 3600  # put right
            clock.now += 3600
            uptime["seconds"] += 3600
            assert read("new") == "new"

    def test_a_lock_ends_by_it_whatever_the_clock_says(self, store, clock, uptime):
        with store.lock("a:b", ttl_seconds=60, wait_seconds=0) as first:
            for moved in (-3600, 7200, 0):
                clock.now += moved
                assert _held(store)
            uptime["seconds"] += 60
            with store.lock("a:b", ttl_seconds=60, wait_seconds=0) as second:
                assert second > first
        assert not _held(store)

    def test_making_room_forgets_no_lock_that_is_held(self, path, clock, uptime):
        with FileCacheStore(path, max_entries=1, clock=clock, uptime=lambda: Uptime(**uptime)) as store:
            with store.lock("a:b", ttl_seconds=60, wait_seconds=0):
                clock.now += 7200
                store.set("a:c", b"data", 60)
                assert _held(store)
            uptime["seconds"] += 4000
            clock.now += 4000
            store.set("a:c", b"data", 60)
            with closing(sqlite3.connect(path)) as connection:
                assert connection.execute("SELECT count(*) FROM lock").fetchone() == (0,)

    @pytest.mark.parametrize("other", ["two", ""])
    def test_after_another_start_the_clock_counts_again(self, store, clock, uptime, other):
        store.set("a:c", b"data", 60)
        before = store.lock("a:b", ttl_seconds=60, wait_seconds=0)
        before.__enter__()
        uptime.update(boot=other, seconds=5.0)
        assert _held(store)
        assert store.get("a:c") == b"data"
        clock.now += 60
        assert not _held(store)
        assert store.get("a:c") is None

    def test_of_this_machine(self):
        first, second = machine_uptime(), machine_uptime()
        assert first.boot == second.boot
        assert first.seconds <= second.seconds
        assert bool(first.boot) == (sys.platform == "linux")


def _held(store):
    try:
        with store.lock("a:b", ttl_seconds=60, wait_seconds=0):
            return False
    except ConflictError:
        return True


def test_no_statement_numbers_its_parameters():
    """The first releases of Python 3.12 take `?1` for a name, and warn at each call that gives values in order."""
    sources = Path(cache.__file__).parent.parent.rglob("*.py")
    assert [source.name for source in sources if re.search(r"\?\d", source.read_text())] == []


def test_old_locks_leave(path, clock):
    """What is known of locks and drops does not grow for ever."""
    with FileCacheStore(path, max_entries=1, clock=clock) as store:
        for number in range(5):
            with store.lock(f"a:{number}", ttl_seconds=1, wait_seconds=0) as token:
                assert store.set_fenced(f"a:{number}", b"data", 1, token) is True
        clock.now += 3700
        store.set("a:b", b"data", 1)
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("SELECT count(*) FROM lock").fetchone() == (0,)


def test_options_out_of_bounds(path):
    for options in ({"max_entries": 0}, {"timeout_seconds": 0}):
        with pytest.raises(ConfigurationError):
            FileCacheStore(path, **options)
    assert not path.exists()


# --- processes ---


def test_the_lock_of_a_killed_holder(path):
    """Another process gets it once its time is over, and no sooner."""
    clock = Clock(time.time())
    with FileCacheStore(path, timeout_seconds=30, clock=clock) as store:
        holder = _start("hold", path, 600)
        token = int(holder.stdout.readline())
        _kill(holder)
        clock.now += 300
        with pytest.raises(ConflictError):
            store.lock("space:name", ttl_seconds=60, wait_seconds=0).__enter__()
        assert store.set_fenced("space:name", b"data", 60, token)
        clock.now += 1000
        with store.lock("space:name", ttl_seconds=60, wait_seconds=0) as later:
            assert later > token
            assert not store.set_fenced("space:name", b"late", 60, token)


def test_one_process_at_a_time(path, tmp_path):
    """What only the holder may do is never done by two; tokens grow across processes."""
    number = tmp_path / "number"
    number.write_text("0")
    processes = [_start("count", path, number, 15) for _ in range(3)]
    outputs = [process.communicate(timeout=300)[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert number.read_text() == "45"
    tokens = [int(token) for output in outputs for token in output]
    assert len(set(tokens)) == 45
    assert all([*map(int, output)] == sorted(map(int, output)) for output in outputs)


def test_processes_make_one_fetch(path, tmp_path):
    """Four of them ask at once, and one asks the backend."""
    key, fetches = generate_key(), tmp_path / "fetches"
    processes = [_start("fetch", path, key, fetches, stdin=subprocess.PIPE) for _ in range(4)]
    assert [process.stdout.readline() for process in processes] == ["asking\n"] * 4
    for process in processes:
        process.stdin.close()
        process.stdin = None
    assert {process.communicate(timeout=300)[0] for process in processes} == {"value\n"}
    assert fetches.read_text() == "database/password\n"
    held = b"".join(file.read_bytes() for file in tmp_path.glob("cache.db*"))
    assert b"value" not in held
    assert b"password" not in held


def test_a_drop_in_another_process_is_heard(path):
    """It arrives, and nothing else does."""
    with FileCacheStore(path, timeout_seconds=30) as store, _watching(store) as (heard, wait_for, watcher):
        assert watcher.alive
        dropper = _start("drop", path, "space:name")
        dropper.communicate(timeout=300)
        assert dropper.returncode == 0
        assert wait_for("space:name")
        store.set("space:other", b"data", 60)
        store.delete("space:last")
        assert wait_for("space:last")
        assert heard == [None, "space:name", "space:last"]


def test_killed_writers(path):
    """After kill -9 the cache goes on with what it has."""
    chance = random.Random(1)
    for _ in range(5):
        writer = _start("write", path)
        assert writer.stdout.readline() == "under way\n"
        for _ in range(chance.randrange(30)):
            writer.stdout.readline()
        _kill(writer)
        with FileCacheStore(path, timeout_seconds=30) as store:
            store.set("a:b", b"data", 60)
            assert store.get("a:b") == b"data"
            assert all(set(store.get(f"space:{number}") or b"\0") == {0} for number in range(50))
    assert os.listdir(path.parent) == ["cache.db"]


def test_a_fork(path):
    """A child opens the file for itself, and watches nothing; its end takes nothing from the parent."""
    code = f"""
import os, sys, threading
from strongroom_file import FileCacheStore
store = FileCacheStore({str(path)!r}, timeout_seconds=30)
told = threading.Event()
heard = []
subscription = store.subscribe(lambda name: (heard.append(name), told.set()))
store.set("a:parent", b"data", 60)
assert told.wait(120)
child = os.fork()
if not child:
    assert store._connection is None
    assert not subscription.alive
    assert store.get("a:parent") == b"data"
    store.set("a:child", b"data", 60)
    store.delete("a:dropped")
    subscription.close()
    sys.exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert store.get("a:child") == b"data"
store.delete("a:after")
for _ in range(600):
    if subscription.alive and "a:after" in heard[-1:]:
        break
    store.delete("a:after")
    threading.Event().wait(0.05)
# Closed for the fork and opened again: anything may have been dropped in between, if it was not told by name.
assert "a:dropped" in heard or heard.count(None) > 1, heard
assert subscription.alive
store.close()
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)
    assert os.listdir(path.parent) == ["cache.db"]


def test_a_file_that_nobody_closed_is_not_carried_over_a_fork(path):
    """It is closed with its last reference, without Python having to look for garbage."""
    gc.collect()
    gc.disable()
    try:
        store = FileCacheStore(path)
        store.set("a", b"data", 60)
        assert os.listdir(path.parent) != ["cache.db"]  # open: there is a log beside it
        del store
        assert os.listdir(path.parent) == ["cache.db"]
    finally:
        gc.enable()


def test_a_fork_that_is_under_way_does_not_meet_a_file_that_is_just_opened(path):
    """By a store that it does not know yet: it would not be closed before, and the child would inherit it."""

    class Owner:
        def rest(self, _):
            opening.start()
            opening.join(0.2)
            seen.append(path.exists())

    seen, owner = [], Owner()
    opening = threading.Thread(target=lambda: FileCacheStore(path).set("a", b"data", 60))
    renew_after_fork(owner, lambda _: None, rest=Owner.rest)
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    opening.join()
    assert seen == [False]
    assert path.exists()


def test_others_that_hold_the_file_are_not_waited_for_long(path):
    """A write behind another process ends with the timeout; reads go on."""
    with FileCacheStore(path, timeout_seconds=0.1) as store:
        store.set("a:b", b"data", 60)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(BackendUnavailableError):
                store.set("a:b", b"new", 60)
            assert store.get("a:b") == b"data"
            with ThreadPoolExecutor() as threads:
                threads.submit(store._lock.acquire).result()
                with pytest.raises(BackendUnavailableError, match="threads"):
                    store.get("a:b")
                threads.submit(store._lock.release).result()
            other.execute("ROLLBACK")
        store.set("a:b", b"new", 60)
        assert store.get("a:b") == b"new"


def test_more_drops_than_are_kept(store, monkeypatch):
    """Who cannot tell what was dropped is told that any name may have been."""
    monkeypatch.setattr(cache, "_MOST_DROPS", 5)
    with _watching(store) as (heard, wait_for, watcher):
        with (
            watcher.paused() if hasattr(watcher, "paused") else closing(sqlite3.connect(store._path)) as other
        ):
            other.execute("BEGIN IMMEDIATE")
            other.executemany(
                "INSERT INTO dropped (name) VALUES (?)", [(f"a:{number}",) for number in range(9)]
            )
            other.execute("DELETE FROM dropped WHERE id<=4")
            other.commit()
        assert wait_for(None, 2)
        assert heard == [None, None]
        store.delete("a:last")
        assert wait_for("a:last")
    with closing(sqlite3.connect(store._path)) as connection:
        assert connection.execute("SELECT count(*) FROM dropped").fetchone() == (5,)


def test_a_watcher_that_fails_hears_the_next_drop(store, caplog):
    """Its error is logged without what it says."""
    heard = []
    arrived = threading.Event()

    def hear(name):
        heard.append(name)
        if name == "a:last":
            arrived.set()
        message = "hunter22"
        raise ValueError(message)

    subscription = store.subscribe(hear)
    while not heard:
        arrived.wait(0.01)
    store.delete("a:first")
    store.delete("a:last")
    assert arrived.wait(300)
    subscription.close()
    assert heard == [None, "a:first", "a:last"]
    assert "ValueError" in caplog.text
    assert "hunter22" not in caplog.text


# --- files that are not what they should be ---


def _symlink(path):
    target = path.with_name("target")
    target.write_bytes(b"precious")
    path.symlink_to(target)


def _foreign(path):
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    path.write_bytes(b"precious")
    os.chown(path, 65534, 65534)


def _other_database(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE precious (data)")
        connection.commit()


def _store(path):
    with FileSecretProvider(path, generate_key()) as provider:
        provider.set_secret("key", "value")


def _newer(path):
    with FileCacheStore(path) as store:
        store.set("a:b", b"data", 60)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version=99")


REFUSED = {
    "symbolic link": _symlink,
    "FIFO": os.mkfifo,
    "folder": os.mkdir,
    "another user's": _foreign,
    "another database": _other_database,
    "a store of secrets": _store,
    "of a newer strongroom": _newer,
}


@pytest.mark.parametrize("make", REFUSED.values(), ids=REFUSED)
def test_what_is_not_touched(path, make):
    """Each call is "unavailable", and what is there stays as it is."""
    make(path)
    before = path.read_bytes() if path.is_file() else None
    names = os.listdir(path.parent)
    with FileCacheStore(path) as store:
        for call in _calls(store):
            with pytest.raises(BackendUnavailableError):
                call()
        subscription = store.subscribe(lambda _: None)
        assert not subscription.alive
    assert (path.read_bytes() if path.is_file() else None) == before
    assert os.listdir(path.parent) == names


def test_a_read_only_folder(tmp_path, make_read_only):
    folder = tmp_path / "folder"
    folder.mkdir()
    make_read_only(folder)
    with FileCacheStore(folder / "cache.db") as store:
        for call in _calls(store):
            with pytest.raises(BackendUnavailableError):
                call()


def _cut(path):
    path.write_bytes(path.read_bytes()[:5000])


def _drop_table(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE counter")


def _trigger(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TRIGGER sly AFTER INSERT ON entry BEGIN DELETE FROM entry; END")


RUBBISH = {
    "text": lambda path: path.write_text("no cache at all\n" * 100),
    "nothing": lambda path: path.write_bytes(b""),
    "chance": lambda path: path.write_bytes(random.Random(1).randbytes(9000)),
    "cut off": _cut,
    "without a table": _drop_table,
    "with a trigger": _trigger,
}


@pytest.mark.parametrize(
    ("spoil", "call"),
    crossed(
        [pytest.param(spoil, id=name) for name, spoil in RUBBISH.items()],
        [
            pytest.param(number, id=name)
            for number, name in enumerate(["get", "set", "set fenced", "delete", "clear", "lock"])
        ],
    ),
)
def test_rubbish_is_set_aside(path, spoil, call, caplog):
    """With a warning; the cache goes on with a new file, and the old one is kept."""
    with FileCacheStore(path) as store:
        for number in range(40):
            store.set(f"a:{number}", bytes(500), 60)
    spoil(path)
    rubbish = path.read_bytes()
    with caplog.at_level(logging.WARNING, "strongroom.cache"), FileCacheStore(path) as store:
        _calls(store)[call]()
        store.set("a:b", b"data", 60)
        assert store.get("a:b") == b"data"
    assert "is damaged" in caplog.text
    (aside,) = [name for name in os.listdir(path.parent) if name != "cache.db"]
    assert aside.startswith("cache.db.damaged-")
    assert (path.parent / aside).read_bytes() == rubbish


def test_flipped_bits(path):
    """No error but "unavailable", and no data that was not written; the next write goes well."""
    data = {f"a:{number}": bytes([number]) * 700 for number in range(60)}
    with FileCacheStore(path) as store:
        for name, content in data.items():
            store.set(name, content, 60)
    good = path.read_bytes()
    for seed in range(60):
        chance = random.Random(seed)
        spoilt = bytearray(good)
        for _ in range(chance.choice([1, 10, 200])):
            spoilt[chance.randrange(len(spoilt))] ^= 1 << chance.randrange(8)
        path.write_bytes(spoilt)
        with FileCacheStore(path) as store:
            for call in (*(lambda name=name: store.get(name) for name in data), *_calls(store)):
                try:
                    call()
                except BackendUnavailableError:
                    continue
        for name in os.listdir(path.parent):
            (path.parent / name).unlink()


def test_damage_under_an_open_cache(path, caplog):
    """Whoever meets it begins again; another one that had it open follows."""
    with FileCacheStore(path) as store, FileCacheStore(path) as other:
        for number in range(200):
            store.set(f"a:{number}", bytes(1000), 60)
        assert other.get("a:1") is not None
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        with path.open("r+b") as file:
            file.seek(4096)
            file.write(b"\xff" * 4096 * 20)
        for number in range(200):
            store.get(f"a:{number}")
        store.set("a:b", b"data", 60)
        assert store.get("a:b") == b"data"
        assert other.get("a:b") == b"data"
    assert caplog.text.count("is damaged") == 1


def test_who_comes_second_sets_nothing_aside(path):
    """A file that took the place of the damaged one is another one."""
    with FileCacheStore(path) as store:
        store.set("a:b", b"data", 60)
        set_aside(path, (1, 2), "as another process saw it")
        set_aside(path, None, "it was not there")
        assert store.get("a:b") == b"data"
    assert os.listdir(path.parent) == ["cache.db"]


def test_a_file_that_was_replaced(path):
    """It is opened again, and who watches hears that any name may have been dropped."""
    with FileCacheStore(path, timeout_seconds=30) as store, _watching(store) as (heard, wait_for, watcher):
        store.set("a:b", b"data", 60)
        with store.lock("a:b", ttl_seconds=60, wait_seconds=0) as before:
            pass
        for side in ("", "-wal", "-shm"):
            path.with_name(f"{path.name}{side}").unlink()
        assert store.get("a:b") is None
        assert wait_for(None, 3)
        store.delete("a:later")
        assert wait_for("a:later")
        assert watcher.alive
        with store.lock("a:b", ttl_seconds=60, wait_seconds=0) as after:
            assert after > before
    assert heard.count(None) == 3


# --- in a pipeline ---


def test_in_a_spec(tmp_path, monkeypatch):
    """`l2: {type: file.cache}` with a path beside the spec: another process's cache, and one that is offline."""
    monkeypatch.setenv("STRONGROOM_ENCRYPTION_KEY", generate_key())
    monkeypatch.chdir("/")
    spec = tmp_path / "strongroom.yaml"
    spec.write_text(
        """
version: 1
pipelines:
  app:
    provider: {type: file, file_path: secrets.enc}
    middleware:
      - type: caching
        l2: {type: file.cache, path: cache.db, max_entries: 50, timeout_seconds: 30}
        l2_timeout_seconds: 30
profiles:
  offline:
    pipelines:
      app:
        middleware:
          - {type: caching, offline: true, l2: {type: file.cache, path: cache.db}, l2_timeout_seconds: 30}
"""
    )
    with SecretProviderRegistry(spec) as registry:
        registry.set_secret("key", "value")
        assert registry.get_secret("key") == "value"
    assert sorted(os.listdir(tmp_path)) == ["cache.db", "secrets.enc", "strongroom.yaml"]
    (tmp_path / "secrets.enc").unlink()
    with SecretProviderRegistry(spec, profile="offline") as registry:
        assert registry.get_secret("key") == "value"
        with pytest.raises(BackendUnavailableError):
            registry.set_secret("key", "new")


def test_a_cache_that_is_first_used_as_the_process_ends_lets_it_end(tmp_path):
    """It is collected when no thread can be started any more, not even one to end its subscription."""
    code = f"""
import atexit
from strongroom import SecretProviderRegistry
registry = SecretProviderRegistry({{"version": 1, "pipelines": {{"app": {{
    "provider": {{"type": "memory", "secrets": {{"a": "value"}}}},
    "middleware": [{{"type": "caching", "l2": {{"type": "file.cache", "path": {str(tmp_path / "c")!r}}},
        "encryption": {{"type": "aes-gcm", "key": {generate_key()!r}}}}}]}}}}}})
atexit.register(lambda: print(registry.get_secret("a")))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, "value\n")
