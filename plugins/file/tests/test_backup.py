"""Copies taken while the store is in use, and put back."""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
import stat
import threading
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from strongroom.encryption.keys import generate_key
from strongroom.errors import (
    BackendUnavailableError,
    ConfigurationError,
    ConflictError,
    DecryptionError,
    SecretNotFoundError,
    TamperedError,
)
from strongroom_file import FileSecretProvider
from strongroom_file.maintenance import backup

KEY = generate_key()


@pytest.fixture
def store(tmp_path):
    return tmp_path / "store"


@pytest.fixture
def provider(store):
    with FileSecretProvider(store, KEY) as provider:
        provider.set_secrets({f"key/{number}": f"value {number}" for number in range(100)})
        provider.set_secret("key/1", "second")
        yield provider


def test_a_backup_is_a_store(provider, tmp_path):
    """The copy is one file, 0600, and opens like the original, in the midst of its use."""
    copy = tmp_path / "copy"
    mask = os.umask(0)
    try:
        provider.backup(copy)
    finally:
        os.umask(mask)
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert sorted(os.listdir(tmp_path)) == ["copy", "store", "store-shm", "store-wal"]
    provider.set_secret("key/1", "third")
    with FileSecretProvider(copy, KEY) as other:
        assert other.get_secret("key/1") == "second"
        assert len(other.list_versions("key/1")) == 2
        assert other.verify() == []


def test_a_backup_whose_name_is_not_utf_8_is_one(provider, tmp_path):
    copy = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    provider.backup(copy)
    provider.delete_secret("key/1")
    provider.restore(copy)
    assert provider.get_secret("key/1") == "second"


def test_a_backup_during_a_rekey_is_one_and_says_which_key_it_needs(tmp_path, monkeypatch):
    """The copy is made under the old key, and examined when there is the new one."""
    store, key, real = tmp_path / "store", tmp_path / "app.key", backup.copied

    @contextmanager
    def copied(*given, **more):
        with real(*given, **more) as copy:
            other.rekey()
            yield copy

    with (
        FileSecretProvider(store, key_file=key) as provider,
        FileSecretProvider(store, key_file=key) as other,
    ):
        provider.set_secret("k", "value")
        before = provider.key_id()
        with monkeypatch.context() as patched:
            patched.setattr(backup, "copied", copied)
            assert provider.backup(tmp_path / "old") == before
        assert provider.key_id() == other.key_id() != before
        assert provider.backup(tmp_path / "new") == other.key_id()
        provider.restore(tmp_path / "old", key_file=f"{key}.old-{before}")
        assert provider.get_secret("k") == "value"


def test_a_store_that_was_away_during_a_rekey_says_where_its_key_is(tmp_path):
    """As one on a file system that was not mounted; the copy of the key is named for another store."""
    key = tmp_path / "app.key"
    with (
        FileSecretProvider(tmp_path / "a", key_file=key) as a,
        FileSecretProvider(tmp_path / "b", key_file=key) as b,
    ):
        a.set_secret("k", "of a")
        b.set_secret("k", "of b")
        b.close()
        kept = a.rekey()
        with pytest.raises(DecryptionError) as refused:
            b.get_secret("k")
    assert refused.value.hint == f"that key is in {kept}: a rekey left it there"


def test_a_backup_overwrites_only_when_told(provider, tmp_path):
    """A file that is there stays, unless `overwrite` says otherwise."""
    copy = tmp_path / "copy"
    provider.backup(copy)
    before = copy.read_bytes()
    provider.set_secret("key/1", "third")
    with pytest.raises(ConflictError):
        provider.backup(copy)
    assert copy.read_bytes() == before
    provider.backup(copy, overwrite=True)
    with FileSecretProvider(copy, KEY) as other:
        assert other.get_secret("key/1") == "third"


def test_a_backup_replaces_neither_its_store_nor_a_key(tmp_path):
    """The store, its log, its key and other keys stay, even if a file may be overwritten."""
    store, key_file, other = tmp_path / "store", tmp_path / "store.key", tmp_path / "audit.key"
    other.write_text(f"{generate_key()}\n")
    other.chmod(0o600)
    with FileSecretProvider(store, key_file=key_file) as provider:
        provider.set_secret("a", "1")
        kept = (store, tmp_path / "store-wal", key_file, other)
        before = {path: path.stat().st_ino for path in kept}
        for path in kept:
            with pytest.raises(ConfigurationError, match=r"store itself|holds one"):
                provider.backup(path, overwrite=True)
        assert {path: path.stat().st_ino for path in kept} == before
        for ending in (".next", ".next-all"):
            with pytest.raises(ConfigurationError, match="is for a key"):
                provider.backup(f"{key_file}{ending}")
    with FileSecretProvider(store, key_file=key_file) as provider:
        assert provider.get_secret("a") == "1"


def _killed(work):
    """Run `work` in a process that ends as if it was killed, with the stores that it returns still open."""
    child = os.fork()
    if child == 0:
        try:
            still_open = work()  # noqa: F841  # a store would be closed with its last reference
        finally:
            os._exit(0)
    os.waitpid(child, 0)


def test_a_backup_is_not_mixed_with_the_log_of_what_it_replaces(provider, tmp_path):
    """The log that a killed user of an earlier copy left is not brought into the new copy."""
    copy = tmp_path / "copy"
    provider.backup(copy)

    def work():
        other = FileSecretProvider(copy, KEY)
        other.set_secret("key/1", "of the earlier copy")
        return other

    _killed(work)
    assert (tmp_path / "copy-wal").stat().st_size
    provider.set_secret("key/1", "third")
    provider.backup(copy, overwrite=True)
    with FileSecretProvider(copy, KEY) as other:
        assert other.get_secret("key/1") == "third"


@pytest.mark.parametrize("is_restored", [True, False])
def test_a_new_store_is_not_mixed_with_the_log_of_a_removed_one(tmp_path, is_restored):
    """Where a store was removed and its log was left, the log is set aside, and no part of the new store."""
    store, copy = tmp_path / "store", tmp_path / "copy"

    def work():
        provider = FileSecretProvider(store, KEY)
        provider.set_secrets({f"key/{number}": f"value {number}" for number in range(100)})
        provider.backup(copy)
        provider.set_secret("key/1", "of the removed store")
        return provider

    _killed(work)
    log = (tmp_path / "store-wal").read_bytes()
    store.unlink()
    with FileSecretProvider(store, KEY) as provider:
        if is_restored:
            provider.restore(copy)
            assert provider.get_secret("key/1") == "value 1"
        else:
            provider.set_secret("a", "1")
            assert provider.list_secrets() == ["a"]
        assert provider.verify() == []
    (aside,) = tmp_path.glob("store-wal.left-*")
    assert aside.read_bytes() == log


def test_a_log_is_not_set_aside_under_another_lock(tmp_path, monkeypatch):
    """A folder that is locked for long is an error, and nothing was changed."""
    monkeypatch.setattr("strongroom_file.files._PATIENCE_SECONDS", 0.0)
    (tmp_path / "store-wal").write_bytes(b"a log")
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        with (
            FileSecretProvider(tmp_path / "store", KEY) as provider,
            pytest.raises(BackendUnavailableError, match="another process was writing to"),
        ):
            provider.set_secret("a", "1")
    finally:
        os.close(folder)
    assert os.listdir(tmp_path) == ["store-wal"]


def test_a_damaged_store_keeps_its_name_until_the_backup_is_ready(provider, store, tmp_path, monkeypatch):
    """If a restore fails halfway, a damaged store is still where it was, and no new one is made in its place."""
    copy = tmp_path / "copy"
    provider.backup(copy)
    provider.close()
    with closing(sqlite3.connect(store)) as connection:
        connection.execute("DELETE FROM header")
        connection.commit()

    def fail(*_):
        raise BackendUnavailableError("the disk is full")

    monkeypatch.setattr("strongroom_file.maintenance.backup._begin_epoch", fail)
    with pytest.raises(BackendUnavailableError):
        provider.restore(copy)
    assert store.exists()
    assert not list(tmp_path.glob("store.damaged-*"))


def test_a_backup_while_others_write(provider, tmp_path):
    """A backup is one moment of a store that is being written."""
    stop = threading.Event()

    def write():
        turn = 0
        while not stop.is_set():
            provider.set_secrets({"pair/a": str(turn), "pair/b": str(turn)})
            turn += 1

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for number in range(5):
            provider.backup(tmp_path / f"copy{number}")
    finally:
        stop.set()
        thread.join()
    for number in range(5):
        with FileSecretProvider(tmp_path / f"copy{number}", KEY) as copy:
            assert copy.verify() == []
            pair = copy.get_secrets(["pair/a", "pair/b"])
            assert pair.get("pair/a") == pair.get("pair/b")


def test_restore_in_use(provider, store, tmp_path):
    """Another provider on the store sees what was restored, and version ids begin a new epoch."""
    copy = tmp_path / "copy"
    provider.backup(copy)
    kept = provider.describe_secret("key/1")
    with FileSecretProvider(store, KEY) as other:
        provider.set_secret("key/1", "third")
        ids = {version.version for version in provider.list_versions("key/1")}
        provider.delete_secret("key/5")
        assert other.get_secret("key/1") == "third"
        provider.restore(copy)
        assert provider.get_secret("key/1") == other.get_secret("key/1") == "second"
        assert other.get_secret("key/5") == "value 5"
        assert provider.describe_secret("key/1") == kept
        other.set_secret("key/1", "fourth")
        assert provider.describe_secret("key/1").version not in ids
        assert provider.verify() == other.verify() == []
    assert sorted(name for name in os.listdir(tmp_path) if "-" not in name) == ["copy", "store"]


def test_restoring_twice_gives_two_epochs(provider, tmp_path):
    """The same backup put back twice does not lead to the same ids."""
    copy = tmp_path / "copy"
    provider.backup(copy)
    ids = set()
    for _ in range(3):
        provider.restore(copy)
        provider.set_secret("key/1", "new")
        ids.add(provider.describe_secret("key/1").version)
    assert len(ids) == 3


def test_restore_where_nothing_is(provider, tmp_path):
    """On a new machine the backup becomes the store."""
    copy, new = tmp_path / "copy", tmp_path / "elsewhere" / "store"
    provider.backup(copy)
    with FileSecretProvider(new, KEY) as other:
        other.restore(copy)
        assert other.get_secret("key/1") == "second"
        assert other.verify() == []
    assert os.listdir(new.parent) == ["store"]


@pytest.mark.parametrize("damage", ["rubbish", "empty", "root", "header"])
def test_restore_over_a_damaged_store(provider, store, tmp_path, damage):
    """A store that cannot be opened is moved aside and kept; another damaged one is repaired in its place."""
    copy = tmp_path / "copy"
    provider.backup(copy)
    provider.close()
    if damage in {"rubbish", "empty"}:
        store.write_bytes(b"rubbish" * 1000 if damage == "rubbish" else b"")
    else:
        with closing(sqlite3.connect(store)) as connection:
            connection.execute(f"UPDATE {damage} SET body=zeroblob(90)")
            connection.commit()
    with FileSecretProvider(store, KEY) as again:
        with pytest.raises(TamperedError):
            again.get_secret("key/1")
        again.restore(copy)
        assert again.get_secret("key/1") == "second"
        assert again.verify() == []
        again.set_secret("key/1", "third")
    aside = [name for name in os.listdir(tmp_path) if "damaged" in name]
    assert len(aside) == (0 if damage == "root" else 1)


def test_restore_refuses(provider, store, tmp_path):
    """No backup, a damaged one, one under another key, or a store under another key: nothing changes."""
    copy = tmp_path / "copy"
    provider.backup(copy)
    broken = tmp_path / "broken"
    shutil.copy(copy, broken)
    with closing(sqlite3.connect(broken)) as connection:
        connection.execute("DELETE FROM value WHERE id=(SELECT min(id) FROM value)")
        connection.commit()
    provider.set_secret("key/1", "third")
    with FileSecretProvider(tmp_path / "foreign", generate_key()) as foreign:
        foreign.set_secret("key/1", "foreign")
        with pytest.raises(DecryptionError):
            foreign.restore(copy)
        assert foreign.get_secret("key/1") == "foreign"
    for origin, error in (
        (tmp_path / "absent", ConfigurationError),
        (broken, TamperedError),
        (tmp_path / "foreign", DecryptionError),
    ):
        with pytest.raises(error):
            provider.restore(origin)
        assert provider.get_secret("key/1") == "third"
    other = tmp_path / "other"
    shutil.copy(tmp_path / "foreign", other)
    before = other.read_bytes()
    with FileSecretProvider(other, KEY) as wrong, pytest.raises(DecryptionError):
        wrong.restore(copy)
    assert other.read_bytes() == before
    assert not [name for name in os.listdir(tmp_path) if name.endswith(".tmp")]


def test_no_store_no_backup(tmp_path):
    """What is not there cannot be copied."""
    with FileSecretProvider(tmp_path / "store", KEY) as provider:
        for call in (lambda: provider.backup(tmp_path / "copy"), provider.anchor):
            with pytest.raises(ConfigurationError):
                call()
    assert os.listdir(tmp_path) == []


def test_a_restored_store_forgets_what_was_newer(provider, tmp_path):
    """What was written after the backup is gone, and said to be."""
    copy = tmp_path / "copy"
    provider.backup(copy)
    provider.set_secret("late", "value")
    provider.restore(copy)
    with pytest.raises(SecretNotFoundError):
        provider.get_secret("late")


# --- states of other epochs ---


def _copied(provider, store, name):
    provider.close()
    copy = store.with_name(name)
    shutil.copyfile(store, copy)
    return copy


def _put_back(copy, store):
    for side in ("-wal", "-shm"):
        store.with_name(f"{store.name}{side}").unlink(missing_ok=True)
    shutil.copyfile(copy, store.with_name("new"))
    store.with_name("new").replace(store)


def test_an_older_file_of_an_earlier_epoch_is_refused(provider, store, tmp_path):
    """A restore in between does not let a running process forget what it has seen."""
    provider.set_secret("db", "leaked")
    earlier = _copied(provider, store, "earlier")
    provider.backup(tmp_path / "copy")
    with FileSecretProvider(store, KEY) as reader:
        assert reader.get_secret("db") == "leaked"
        provider.restore(tmp_path / "copy")
        assert reader.get_secret("db") == "leaked"
        provider.set_secret("db", "rotated")
        assert reader.get_secret("db") == "rotated"
        provider.close()
        reader.close()
        _put_back(earlier, store)
        with pytest.raises(TamperedError, match="put back to an older state"):
            reader.get_secret("db")
    with pytest.raises(TamperedError):
        provider.get_secret("db")


def test_a_restore_counts_on_from_more_than_anybody_has_seen(provider, store, tmp_path):
    """Also where the store that it replaces had been put back, or cannot be read: readers go on."""
    provider.backup(tmp_path / "copy")
    earlier = _copied(provider, store, "earlier")
    with FileSecretProvider(store, KEY) as reader:
        for number in range(30):
            provider.set_secret("key/1", str(number))
        assert reader.get_secret("key/1") == "29"
        reader.close()
        provider.close()
        for damage in (lambda: _put_back(earlier, store), lambda: store.write_bytes(b"x" * 5000)):
            damage()
            with FileSecretProvider(store, KEY) as another:
                another.restore(tmp_path / "copy")
            assert reader.get_secret("key/1") == "second"
            reader.set_secret("key/1", "third")
            assert reader.get_secret("key/1") == "third"
            reader.close()


def test_another_store_in_its_place_is_refused(provider, store):
    """One that was begun again, under the same key: a running process says so."""
    assert provider.get_secret("key/1") == "second"
    provider.close()
    with FileSecretProvider(store.with_name("other"), KEY) as other:
        other.set_secret("key/1", "forged")
    store.with_name("other").replace(store)
    with pytest.raises(TamperedError):
        provider.get_secret("key/1")
