"""What was acknowledged is there: after kill -9, with many writers, on a full disk and on one that fails."""

from __future__ import annotations

import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from interrupts import interrupted, interrupted_at_each_moment
from strongroom.encryption.keys import generate_key
from strongroom.errors import BackendUnavailableError, SecretNotFoundError
from strongroom_file import FileSecretProvider
from strongroom_file.cache import FileCacheStore
from strongroom_file.errors import RESULT_CODES, translate
from strongroom_file.store import queries

KEY = generate_key()
WRITER = Path(__file__).with_name("_writer.py")


def _start(store, name, count, start=0):
    return subprocess.Popen(
        [sys.executable, str(WRITER), str(store), KEY, name, str(count), str(start)],
        stdout=subprocess.PIPE,
        text=True,
    )


def _acknowledged(process, lines, expected):
    """Take over what a writer said it had done."""
    for line in lines:
        own, number = line.split()
        if own.startswith("-"):
            expected.pop(own[1:], None)
        else:
            expected[own] = number
        process.last = int(number)


def _killed_rounds(store, rounds, seed):
    chance = random.Random(seed)
    expected: dict[str, str] = {}
    next_number = 0
    for turn in range(rounds):
        process = _start(store, "w", 10_000, next_number)
        lines = [process.stdout.readline() for _ in range(chance.randrange(1, 30))]
        process.kill()
        rest = process.stdout.read()
        process.stdout.close()
        process.wait()
        lines += [line for line in rest.splitlines(keepends=True) if line.endswith("\n")]
        _acknowledged(process, lines, expected)
        next_number = process.last + 1
        with FileSecretProvider(store, KEY) as provider:
            assert provider.verify() == [], turn
            # One write after the last acknowledged one may have been done, and no more.
            doubtful = f"w/{next_number % 17}"
            there = {key: provider.get_secret(key) for key in provider.list_secrets("w/")}
            assert {k: v for k, v in there.items() if k != doubtful} == {
                k: v for k, v in expected.items() if k != doubtful
            }, turn
            assert there.get(doubtful) in {expected.get(doubtful), str(next_number)} or next_number % 11 == 5
            assert int(provider.get_secret("shared").split()[1]) in {process.last, next_number}
            if doubtful in there:
                expected[doubtful] = there[doubtful]
            else:
                expected.pop(doubtful, None)
            next_number += 1
    with FileSecretProvider(store, KEY) as provider:
        provider.list_secrets()
    assert [file.name for file in store.parent.iterdir() if "tmp" not in file.name] == [store.name]


def test_kill_9(tmp_path):
    """Six rounds of killing a writer."""
    _killed_rounds(tmp_path / "store", 6, seed=1)


@pytest.mark.torture
def test_kill_9_a_thousand_times(tmp_path):
    """A thousand rounds of killing a writer."""
    _killed_rounds(tmp_path / "store", 1000, seed=2)


def _many_writers(store, writers, count):
    processes = [_start(store, f"w{number}", count) for number in range(writers)]
    expected: dict[str, str] = {}
    for process in processes:
        out, _ = process.communicate()
        assert process.returncode == 0
        _acknowledged(process, out.splitlines(), expected)
    with FileSecretProvider(store, KEY) as provider:
        assert provider.verify() == []
        found = provider.get_secrets(provider.list_secrets("w"))
    assert found == expected
    assert [file.name for file in store.parent.iterdir()] == [store.name]


def test_many_processes(tmp_path):
    """Four processes at once, from an empty folder: no write lost, none refused."""
    _many_writers(tmp_path / "store", 4, 60)


@pytest.mark.torture
def test_many_processes_write_a_lot(tmp_path):
    """Eight processes, a thousand writes each."""
    _many_writers(tmp_path / "store", 8, 1000)


def test_many_threads(tmp_path):
    """Threads of one process share one provider, readers and writers at once."""
    failures: list[BaseException] = []
    with FileSecretProvider(tmp_path / "store", KEY) as provider:
        provider.set_secret("read", "0")

        def work(number):
            try:
                for turn in range(40):
                    provider.set_secret(f"thread/{number}", str(turn))
                    assert provider.get_secret(f"thread/{number}") == str(turn)
                    assert provider.get_secret("read") == "0"
            except BaseException as error:  # told by the main thread
                failures.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert provider.get_secrets(f"thread/{number}" for number in range(8)) == {
            f"thread/{number}": "39" for number in range(8)
        }
        assert provider.verify() == []


def test_a_fork_leaves_the_parent_alone(tmp_path):
    """A child opens the store for itself, and its end takes nothing from the parent."""
    store = tmp_path / "store"
    code = f"""
import os, sys
from strongroom_file import FileSecretProvider
provider = FileSecretProvider({str(store)!r}, {KEY!r})
provider.set_secret("a", "parent")
child = os.fork()
if not child:
    assert provider.get_secret("a") == "parent"
    provider.set_secret("b", "child")
    sys.exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert provider.get_secret("b") == "child"
provider.set_secret("a", "after")
assert provider.verify() == []
idle = os.fork()
if not idle:
    sys.exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(idle, 0)[1]) == 0
provider.set_secret("c", "last")
assert provider.list_secrets() == ["a", "b", "c"]
provider.close()
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)
    assert os.listdir(tmp_path) == ["store"]


def test_a_full_disk(tmp_path):
    """Where the disk is full a write is a typed error, and everything from before is there."""
    with FileSecretProvider(tmp_path / "store", KEY) as provider:
        provider.set_secrets({f"key/{number}": "value" for number in range(50)})
        pages = provider._session.reader.execute("PRAGMA page_count").fetchone()[0]
        with provider._session.writing:
            provider._session._write_cursor().execute(f"PRAGMA max_page_count={pages + 2}").fetchall()

        def fill():
            for number in range(100):
                provider.set_secret("big", "x" * 5000 + str(number))

        with pytest.raises(BackendUnavailableError) as caught:
            fill()
        assert "free space" in caught.value.hint
        assert provider.verify() == []
        assert len(provider.list_secrets("key/")) == 50
        provider.close()
        provider.set_secret("big", "fits again")
        assert provider.get_secret("big") == "fits again"


def test_what_is_stored_can_be_read_on_a_disk_too_full_to_open_the_store(tmp_path):
    """A limit on the size of files stands for the disk: the index of the log, 32 KiB, does not fit."""
    store = tmp_path / "store"
    code = f"""
import os, resource, subprocess, sys
from strongroom.errors import BackendUnavailableError
from strongroom_file import FileSecretProvider
def elsewhere(*lines):
    text = "; ".join(("import os", "from strongroom_file import FileSecretProvider", *lines))
    subprocess.run([sys.executable, "-c", text.replace("STORE", {f"FileSecretProvider({str(store)!r}, {KEY!r})"!r})], check=True)
# One that dies leaves what it wrote in the log.
elsewhere("store = STORE", "store.set_secret('a', 'first')", "os._exit(0)")
assert os.path.getsize({str(store)!r} + "-wal")
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
provider = FileSecretProvider({str(store)!r}, {KEY!r})
for _ in range(3):
    assert provider.get_secret("a") == "first"
assert provider.list_secrets() == ["a"]
try:
    provider.set_secret("a", "none")
    sys.exit("it was stored")
except BackendUnavailableError as error:
    assert "free space" in error.hint
assert provider.get_secret("a") == "first"
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
elsewhere("STORE.set_secret('a', 'second')")
assert provider.get_secret("a") == "second"
provider.set_secret("a", "third")
assert provider.get_secret("a") == "third"
elsewhere("assert STORE.get_secret('a') == 'third'")
assert provider.verify() == []
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)


def test_a_disk_too_full_to_open_the_store_is_called_full():
    """SQLite calls it an I/O error where the index of the log cannot be made; the hint says what to do."""
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR_SHMSIZE
    assert "free space" in translate(error).hint
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR_WRITE
    assert "look at the disk" in translate(error).hint


def test_a_disk_that_fails(tmp_path):
    """Where the system refuses to write, it is a typed error; afterwards all goes on."""
    code = f"""
import resource, signal, os
from strongroom_file import FileSecretProvider
from strongroom.errors import BackendUnavailableError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = {str(tmp_path / "store")!r}
provider = FileSecretProvider(store, {KEY!r})
provider.set_secrets({{f"key/{{n}}": "value" for n in range(50)}})
limit = os.path.getsize(store + "-wal") + 20_000
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
failed = 0
for n in range(30):
    try:
        provider.set_secret(f"more/{{n}}", "x" * 3000)
    except BackendUnavailableError as error:
        failed += 1
        assert error.retryable
assert failed > 5, failed
there = provider.list_secrets("more/")
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
assert provider.verify() == []
assert len(there) + failed == 30
assert len(provider.list_secrets("key/")) == 50
provider.set_secret("again", "yes")
provider.close()
assert FileSecretProvider(store, {KEY!r}).get_secret("again") == "yes"
"""
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)


def test_a_commit_that_fails_undoes_everything(tmp_path):
    """An error while the rows are sealed leaves the store, and what is remembered of it, as it was."""
    with FileSecretProvider(tmp_path / "store", KEY) as provider:
        provider.set_secret("key", "old")
        version = provider.describe_secret("key").version

        def clock():
            raise RuntimeError

        provider._clock = clock
        with pytest.raises(RuntimeError):
            provider.set_secret("key", "new")
        provider._clock = lambda: datetime.now(UTC)
        with pytest.raises(SecretNotFoundError):
            provider.discard_version("key", version + "0")
        assert provider.get_secret("key") == "old"
        assert provider.verify() == []


def test_a_writer_waits_only_so_long(tmp_path):
    """A write behind another process's ends at `timeout`, and says that it may be tried again."""
    with FileSecretProvider(tmp_path / "store", KEY, timeout=0.2) as provider:
        provider.set_secret("key", "value")
        other = sqlite3.connect(tmp_path / "store", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(BackendUnavailableError) as caught:
            provider.set_secret("key", "new")
        assert caught.value.retryable
        assert provider.get_secret("key") == "value"
        other.execute("ROLLBACK")
        other.close()
        provider.set_secret("key", "new")


class InterruptedInTest(Exception):
    """What the handler of a signal raises."""


def _interrupt_and_let_go(holder, name):
    """Send the main thread a signal while it waits in the function `name`, and only then let it go on."""
    main = threading.main_thread().ident
    end = time.monotonic() + 30
    while sys._current_frames()[main].f_code.co_name != name and time.monotonic() < end:
        time.sleep(0.001)
    os.kill(os.getpid(), signal.SIGALRM)
    holder.execute("ROLLBACK")


@pytest.mark.parametrize("kind", ["store", "cache"])
def test_a_signal_while_a_write_waits_for_another(tmp_path, kind):
    """The handler's exception arrives as the wait is over: nothing is written, and nobody is locked out."""
    made = [
        FileSecretProvider(tmp_path / "file", KEY, timeout=60)
        if kind == "store"
        else FileCacheStore(tmp_path / "file", timeout_seconds=60)
        for _ in range(2)
    ]

    def write(store, text):
        if kind == "store":
            store.set_secret("key", text)
        else:
            store.set("key", text.encode(), 60)

    def interrupted(*_):
        raise InterruptedInTest

    write(made[0], "old")
    holder = sqlite3.connect(tmp_path / "file", isolation_level=None, check_same_thread=False)
    holder.execute("BEGIN IMMEDIATE")
    before = signal.signal(signal.SIGALRM, interrupted)
    thread = threading.Thread(target=_interrupt_and_let_go, args=(holder, "begin"))
    try:
        thread.start()
        with pytest.raises(InterruptedInTest):
            write(made[0], "new")
    finally:
        thread.join()
        signal.signal(signal.SIGALRM, before)
        holder.close()
    read = made[0].get_secret if kind == "store" else made[0].get
    assert read("key") in {"old", b"old"}
    for one in reversed(made):
        write(one, "newer")
        one.close()
    assert read("key") in {"newer", b"newer"}
    made[0].close()


@pytest.mark.parametrize("read", ["one", "one that is known", "all"])
def test_a_signal_handler_writes_in_the_middle_of_a_read(tmp_path, monkeypatch, read):
    """Its write is done and reported as done; the read goes on with what it began with, and the next sees it."""
    with (
        FileSecretProvider(tmp_path / "store", KEY) as store,
        FileSecretProvider(tmp_path / "store", KEY) as other,
    ):
        other.set_secrets({"key": "old", "gone": "old"})
        assert store.get_secret("key") == "old"

        def write(*_):
            store.set_secret("key", "new")
            store.delete_secret("gone")
            done.append(True)

        done = []
        before = signal.signal(signal.SIGUSR1, write)
        try:
            if read == "one that is known":
                decrypt = store._session._decrypt
                monkeypatch.setattr(
                    store._session,
                    "_decrypt",
                    lambda *row: (signal.raise_signal(signal.SIGUSR1), decrypt(*row))[1],
                )
                assert store.get_secret("key") == "old"
                monkeypatch.undo()
            else:
                ask = (lambda view: queries.get(view, "key")) if read == "one" else None
                ask = ask or (lambda view: queries.list_keys(view, ""))
                found = store._read(
                    lambda view: (signal.raise_signal(signal.SIGUSR1), ask(view))[1], None, list
                )
                assert found == ("old" if read == "one" else ["gone", "key"])
        finally:
            signal.signal(signal.SIGUSR1, before)
        assert done == [True]
        for one in (store, other, store):
            assert one.get_secret("key") == "new"
            assert one.list_secrets() == ["key"]
            with pytest.raises(SecretNotFoundError):
                one.get_secret("gone")
        assert store.verify() == []


@pytest.mark.parametrize("what", ["read", "write", "cache"])
def test_an_interrupt_at_any_moment_leaves_no_lock_locked_and_no_transaction_open(tmp_path, what):
    """All other threads would wait for ever, and other processes until this one ends."""
    store = FileSecretProvider(tmp_path / "store", KEY, timeout=60)
    cache = FileCacheStore(tmp_path / "cache", timeout_seconds=60)
    store.set_secret("key", "value")
    cache.set("key", b"data", 60)
    call = {
        "read": lambda: store.get_secret("key"),
        "write": lambda: store.set_secret("key", "value"),
        "cache": lambda: cache.set("key", b"data", 60),
    }[what]
    for _ in interrupted(call, 300):
        session = store._session
        locks = [store._opening, cache._lock]
        connections = [cache._connection]
        if session is not None:
            locks += [session.reading, session.writing]
            connections += [] if session.connections.are_closed else [session.reader, session._writer]
        assert not any(lock.is_mine() for lock in locks)
        assert not any(one.in_transaction for one in connections if one is not None)
    assert store.get_secret("key") == "value"
    assert cache.get("key") == b"data"
    store.close()
    cache.close()


def test_a_session_whose_close_was_interrupted_is_not_used_any_more(tmp_path):
    """A call that has it by then opens the store again, instead of meeting a closed connection each time."""

    def prepare():
        store = FileSecretProvider(tmp_path / "store", KEY)
        store.set_secret("key", "value")
        store.get_secret("key")
        return store

    for store in interrupted_at_each_moment(prepare, lambda one: one._session.close()):
        assert store.get_secret("key") == "value"
        store.set_secret("key", "value")
        assert store.get_secret("key") == "value"
        store.close()


def test_every_result_code_is_mapped():
    """A result code that SQLite adds must be put into the table."""
    names = [name for name in vars(sqlite3) if name.startswith("SQLITE_")]
    kinds = {
        sqlite3.Error, sqlite3.DatabaseError, sqlite3.OperationalError, sqlite3.IntegrityError, sqlite3.DataError,
        sqlite3.InternalError, sqlite3.NotSupportedError, sqlite3.ProgrammingError, sqlite3.InterfaceError,
    }  # fmt: skip
    assert {
        kind for kind in vars(sqlite3).values() if isinstance(kind, type) and issubclass(kind, sqlite3.Error)
    } <= kinds
    primary = {"ERROR", "INTERNAL", "PERM", "ABORT", "BUSY", "LOCKED", "NOMEM", "READONLY", "INTERRUPT", "IOERR",
               "CORRUPT", "NOTFOUND", "FULL", "CANTOPEN", "PROTOCOL", "EMPTY", "SCHEMA", "TOOBIG", "CONSTRAINT",
               "MISMATCH", "MISUSE", "NOLFS", "AUTH", "FORMAT", "RANGE", "NOTADB", "NOTICE", "WARNING"}  # fmt: skip
    assert {getattr(sqlite3, f"SQLITE_{name}") for name in primary} == set(RESULT_CODES)
    extended = {
        name
        for name in names
        if any(name.startswith(f"SQLITE_{stem}_") for stem in primary) and getattr(sqlite3, name) > 0xFF
    }
    assert all(getattr(sqlite3, name) & 0xFF in RESULT_CODES for name in extended)
    for kind in kinds:
        error = kind("no code")
        assert translate(error).provider == "file"
    for code in [*RESULT_CODES, 0x7E]:
        error = sqlite3.OperationalError("said")
        error.sqlite_errorcode = code
        assert translate(error).provider == "file"
