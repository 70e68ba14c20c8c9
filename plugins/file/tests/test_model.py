"""Several stores over one file against a dictionary: no read gives an older value, or misses one.

Writes come from each of them, from forked children and from children that are killed; the file is compacted,
rekeyed, restored, and replaced by a copy, between any two reads.

Parts of the checks of a read can be taken out; the machine finds that.
"""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from strongroom.errors import BackendUnavailableError, SecretNotFoundError, TamperedError
from strongroom_file import FileSecretProvider
from strongroom_file.store import database, session
from strongroom_file.store.session import Session

STORES = st.integers(0, 2)
KEYS = st.sampled_from([f"key{'-long' * (number % 7 * 6)}/{number}" for number in range(60)])
TEXTS = st.integers(0, 10**6).map(str)
LOOK = 2.0
"""More seconds than a store goes without a look at its path."""


class Machine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.now = 0.0
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(session, "monotonic", lambda: self.now)
        # What is killed here is processes, and never the machine.
        steps = [step for step in database._FIRST_STEPS if "synchronous" not in step]
        self.patch.setattr(database, "_FIRST_STEPS", [*steps, "PRAGMA synchronous=OFF"])
        self.folder = Path(tempfile.mkdtemp())
        self.path = self.folder / "store"
        self.stores = [self._new() for _ in range(3)]
        self.model: dict[str, str] = {}
        self.backups: list[tuple[Path, dict[str, str], str]] = []

    def _new(self):
        return FileSecretProvider(self.path, key_file=self.folder / "key", max_versions=3)

    @initialize(nodes=st.sampled_from([3, 20, 4096]), links=st.sampled_from([2, 32_768]))
    def begin(self, nodes, links):
        self.patch.setattr(session, "_MAX_NODES", nodes)
        self.patch.setattr(session, "_MAX_LINKS", links)
        self.write_many(0, 0, 60)

    # --- reads ---

    @rule(at=STORES, key=KEYS)
    def read(self, at, key):
        try:
            value = self.stores[at].get_secret(key)
        except SecretNotFoundError:
            value = None
        assert value == self.model.get(key)

    @rule(at=STORES)
    def read_each(self, at):
        for key in [*self.model, "absent"]:
            self.read(at, key)

    @rule(at=STORES)
    def read_together(self, at):
        assert self.stores[at].get_secrets([*self.model, "absent"]) == self.model
        assert self.stores[at].list_secrets() == sorted(self.model)

    @rule(seconds=st.floats(0, LOOK))
    def pass_time(self, seconds):
        self.now += seconds

    # --- writes ---

    @rule(at=STORES, key=KEYS, text=TEXTS, times=st.sampled_from([1, 1, 1, 25]))
    def write(self, at, key, text, times):
        self.read(at, key)
        for _ in range(times):  # more than there are versions kept
            self.stores[at].set_secret(key, text)
        self.model[key] = text
        self.read(at, key)

    @rule(at=STORES, first=st.integers(0, 200), count=st.integers(1, 150))
    def write_many(self, at, first, count):
        values = {f"bulk/{number:04}": f"{first} {count} {number}" for number in range(first, first + count)}
        self.stores[at].set_secrets(values)
        self.model.update(values)

    @rule(at=STORES, first=st.integers(0, 400), count=st.integers(1, 60))
    def delete_some(self, at, first, count):
        for key in sorted(self.model)[first : first + count]:
            self.stores[at].delete_secret(key)
            del self.model[key]

    @rule(at=STORES, other=STORES, key=KEYS, text=TEXTS, kept=st.booleans())
    def stage(self, at, other, key, text, kept):
        version = self.stores[at].stage_secret(key, text)
        self.read(other, key)
        if kept:
            now = self.stores[other].describe_secret(key).version if key in self.model else None
            self.stores[other].promote_version(key, version, expected_version=now)
            self.model[key] = text
        else:
            self.stores[other].discard_version(key, version)

    @rule(at=STORES, key=KEYS, text=TEXTS, killed=st.booleans())
    def let_a_child_write(self, at, key, text, killed):
        def write(change):
            change.write(key, text.encode())
            change.flush()
            if killed:
                change.seal()
                os.kill(os.getpid(), signal.SIGKILL)

        child = os.fork()
        if child == 0:
            try:
                self.stores[at]._write(write, None)
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitpid(child, 0)[1] == (signal.SIGKILL if killed else 0)
        if not killed:
            self.model[key] = text

    @rule(at=STORES, key=KEYS, text=TEXTS, full=st.booleans())
    def fail_to_write(self, at, key, text, full):
        def write(change):
            change.write(key, text.encode())
            change.flush()
            change.seal()
            if not full:
                raise ZeroDivisionError
            pages = change._cursor.execute("PRAGMA max_page_count=1").fetchone()[0]
            for _ in range(pages):  # more than the free pages of the file have room for
                change.write(key, b"x" * 5000)

        with pytest.raises((ZeroDivisionError, BackendUnavailableError)):
            self.stores[at]._write(write, None)
        self.stores[at].close()  # and the limit with it

    # --- the file ---

    @rule(at=STORES)
    def close(self, at):
        self.stores[at].close()

    @rule(at=STORES)
    def rekey(self, at):
        self.stores[at].rekey()

    @rule(at=STORES)
    def back_up(self, at):
        path = self.folder / f"backup-{len(self.backups)}"
        self.stores[at].backup(path)
        self.backups.append((path, dict(self.model), (self.folder / "key").read_text()))

    @precondition(lambda self: self.backups)
    @rule(at=STORES, number=st.integers(0, 100))
    def restore(self, at, number):
        path, self.model, key = self.backups[number % len(self.backups)]
        same = key == (self.folder / "key").read_text()
        self.stores[at].restore(path, key=None if same else key.strip())
        self.model = dict(self.model)

    @rule(step=st.sampled_from(["VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"]))
    def compact(self, step):
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            connection.execute(step).fetchall()

    @rule()
    def replace_by_a_copy(self):
        """Replace the file, as a tool does that knows nothing of SQLite's log, and let it be looked at."""
        copy = self.folder / "copy"
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            connection.execute("VACUUM INTO ?", (str(copy),))
        copy.chmod(0o600)
        for ending in ("-wal", "-shm"):
            self.path.with_name(f"store{ending}").unlink(missing_ok=True)
        copy.replace(self.path)
        self.now += LOOK

    def teardown(self):
        try:
            for at in range(3):
                self.read_each(at)
                self.read_together(at)
            assert self.stores[0].verify() == []
        finally:
            for store in self.stores:
                store.close()
            shutil.rmtree(self.folder)
            self.patch.undo()


def run(examples, steps, **options):
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
            **options,
        ),
    )


def links_stay(change):
    def publish(self, state, _keys):
        self._highest.saw(state.root.commits, state.body)
        with self.reading:
            self.state = state
            self._wrote = True

    change(Session, "_publish", publish)


def the_root_is_not_compared(change):
    def read(self, key):
        try:
            row, tag, bound = self.state.links.get(key) or self._link(self.state, key)
            (body,) = self._cursor.execute("SELECT body FROM value WHERE id=?", (row,)).fetchone()
            return self._decrypt(body[:12], body[12:], bound).decode() if body[-16:] == tag else None
        except session._NOT_AT_ONCE:
            return None

    change(Session, "read_cached", read)


def the_path_is_not_looked_at(change):
    change(session, "_identity", lambda *_: (1,))


@pytest.mark.torture
@pytest.mark.parametrize("take_out", [links_stay, the_root_is_not_compared, the_path_is_not_looked_at])
def test_the_machine_finds_what_is_taken_out(take_out, monkeypatch):
    take_out(monkeypatch.setattr)
    with pytest.raises((AssertionError, TamperedError)):
        run(300, 40, phases=[Phase.generate], report_multiple_bugs=False)


def test_no_read_gives_what_is_not_stored():
    run(6, 25)


@pytest.mark.torture
def test_nor_does_one_of_a_great_many():
    run(400, 60)
