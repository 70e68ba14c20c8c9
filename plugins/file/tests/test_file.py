"""What is special about the file store: keys, files, permissions, and what it refuses."""

from __future__ import annotations

import gc
import inspect
import os
import shutil
import socket
import sqlite3
import stat
import subprocess
import sys
import threading
import weakref
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from strongroom.encryption.keys import generate_key, read_key
from strongroom.errors import (
    ConfigurationError,
    ConflictError,
    DecryptionError,
    PermissionDeniedError,
    ReadOnlyError,
    SecretNotFoundError,
    SecretTooLargeError,
)
from strongroom.providers import CAPABILITIES, LeaseProvider, capabilities
from strongroom_file import FileSecretProvider, files, key_source
from strongroom_file import provider as provider_module
from strongroom_file.cache import FileCacheStore
from strongroom_file.cache.watcher import Watcher
from strongroom_file.config import FileConfig
from strongroom_file.plugin import strongroom_providers
from strongroom_file.store.row_cipher import MAX_SEALS, check_seals, new_header, open_header
from strongroom_file.store.session import Session, Snapshot

KEY = generate_key()
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def store(tmp_path):
    return tmp_path / "store"


@pytest.fixture
def provider(store):
    with FileSecretProvider(store, KEY) as provider:
        yield provider


def _every_call(provider):
    return {
        "get": lambda: provider.get_secret("key"),
        "set": lambda: provider.set_secret("key", "new"),
        "delete": lambda: provider.delete_secret("key"),
        "list": provider.list_secrets,
        "get many": lambda: provider.get_secrets(["key"]),
        "set many": lambda: provider.set_secrets({"key": "new"}),
        "describe": lambda: provider.describe_secret("key"),
        "versions": lambda: provider.list_versions("key"),
        "version": lambda: provider.get_secret_version("key", "1"),
        "set if": lambda: provider.set_secret_if("key", "new", None),
        "stage": lambda: provider.stage_secret("key", "new"),
        "promote": lambda: provider.promote_version("key", "1", expected_version=None),
        "discard": lambda: provider.discard_version("key", "1"),
        "verify": provider.verify,
        "anchor": provider.anchor,
        "rekey": lambda: provider.rekey(generate_key()),
    }


# --- construction and keys ---


def test_it_has_every_capability(provider):
    """The embedded store lacks nothing that is of what is stored."""
    assert capabilities(provider) == set(CAPABILITIES) - {LeaseProvider}


def test_config_and_constructor_agree(tmp_path):
    """The options of the descriptor are the constructor's own, and its `repr` shows no key."""
    (plugin,) = strongroom_providers()
    config = FileConfig(file_path=tmp_path / "store", encryption_key="hunter2-passphrase")
    assert set(FileConfig.model_fields) == set(inspect.signature(FileSecretProvider).parameters) - {"clock"}
    for name, field in FileConfig.model_fields.items():
        if not field.is_required():
            assert field.default == inspect.signature(FileSecretProvider).parameters[name].default
    with plugin.load()(**config.model_dump()) as provider:
        assert "hunter2" not in f"{provider!r}{config!r}"
    assert plugin.name == provider.type_name == "file"


def test_constructing_and_reading_make_nothing(tmp_path):
    """Before the first write there is neither a store nor a key file nor a folder."""
    folder = tmp_path / "new"
    with FileSecretProvider(folder / "store", key_file=folder / "app.key") as provider:
        assert provider.list_secrets() == []
        assert provider.get_secrets(["a"]) == {}
        assert provider.verify() == []
        provider.set_secrets({})
        for call in (
            provider.get_secret,
            provider.delete_secret,
            provider.describe_secret,
            provider.list_versions,
        ):
            with pytest.raises(SecretNotFoundError):
                call("a")
        with pytest.raises(ConflictError):
            provider.set_secret_if("a", "b", "1")
        for call in (
            lambda: provider.promote_version("a", "1", expected_version=None),
            lambda: provider.discard_version("a", "1"),
        ):
            with pytest.raises(SecretNotFoundError):
                call()
    assert not folder.exists()


def test_the_first_write_makes_both_files(tmp_path):
    """Store and key file come into being together, for their owner only, whatever the umask."""
    folder = tmp_path / "deep" / "folder"
    mask = os.umask(0)
    try:
        with FileSecretProvider(folder / "store", key_file=folder / "app.key") as provider:
            provider.set_secret("key", "value")
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    finally:
        os.umask(mask)
    assert modes == dict.fromkeys(["app.key", "store", "store-shm", "store-wal"], 0o600)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert sorted(os.listdir(folder)) == ["app.key", "store"]
    assert read_key((folder / "app.key").read_text().strip()).kind == "raw"


def test_a_strict_umask_does_not_lock_out_the_owner(tmp_path):
    """Nor does a umask that takes everything."""
    mask = os.umask(0o777)
    try:
        with FileSecretProvider(tmp_path / "store", key_file=tmp_path / "app.key") as provider:
            provider.set_secret("key", "value")
            modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    finally:
        os.umask(mask)
    assert modes == {0o600}


def test_an_existing_key_file_is_used(tmp_path):
    """The first write of a store takes the key file that is there."""
    (tmp_path / "app.key").touch(mode=0o600)
    (tmp_path / "app.key").write_text(f"{KEY}\n")
    with FileSecretProvider(tmp_path / "store", key_file=tmp_path / "app.key") as provider:
        provider.set_secret("key", "value")
    with FileSecretProvider(tmp_path / "store", KEY) as provider:
        assert provider.get_secret("key") == "value"


def test_a_missing_key_file_beside_a_store(tmp_path):
    """It is an error on every call, and no new key is made."""
    key = tmp_path / "app.key"
    with FileSecretProvider(tmp_path / "store", key_file=key) as provider:
        provider.set_secret("key", "value")
    key.rename(tmp_path / "lost")
    with FileSecretProvider(tmp_path / "store", key_file=key) as provider:
        for call in _every_call(provider).values():
            with pytest.raises(ConfigurationError):
                call()
    assert not key.exists()


def test_the_environment_gives_the_key(store, monkeypatch):
    """With neither key nor key file, STRONGROOM_ENCRYPTION_KEY counts; without it construction fails."""
    monkeypatch.setenv("STRONGROOM_ENCRYPTION_KEY", KEY)
    with FileSecretProvider(store) as provider:
        provider.set_secret("key", "value")
    monkeypatch.setenv("STRONGROOM_ENCRYPTION_KEY", generate_key())
    with FileSecretProvider(store, KEY) as provider:
        assert provider.get_secret("key") == "value"
    monkeypatch.setenv("STRONGROOM_ENCRYPTION_KEY", "")
    with pytest.raises(ConfigurationError):
        FileSecretProvider(store)
    monkeypatch.delenv("STRONGROOM_ENCRYPTION_KEY")
    with pytest.raises(ConfigurationError, match="strongroom keygen") as caught:
        FileSecretProvider(store)
    assert caught.value.provider == "file"


@pytest.mark.parametrize("options", [{"encryption_key": ""}, {"encryption_key": b"x" * 31}, {"encryption_key": "srk1_x"},
    {"encryption_key": "a", "key_file": "b"}, {"encryption_key": "a", "max_versions": 0},
    {"encryption_key": "a", "max_versions": 1001}, {"encryption_key": "a", "timeout": 0}])  # fmt: skip
def test_what_construction_refuses(store, options):
    """Bad options are told at once."""
    with pytest.raises(ConfigurationError) as caught:
        FileSecretProvider(store, **options)
    assert caught.value.provider == "file"


@pytest.mark.parametrize(
    "key",
    [
        pytest.param("correct horse battery staple", marks=pytest.mark.torture),
        *("пароль-и-соль", b"k" * 32, "A" * 43 + "="),
    ],
)
def test_every_kind_of_key(store, key):
    """A passphrase, raw bytes and a Fernet key open what they made, and nothing else does."""
    with FileSecretProvider(store, key) as provider:
        provider.set_secret("key", "value")
    with FileSecretProvider(store, key) as provider:
        assert provider.get_secret("key") == "value"
    for other in (generate_key(), "another passphrase"):
        with FileSecretProvider(store, other) as provider, pytest.raises(DecryptionError):
            provider.get_secret("key")


def test_a_wrong_key_changes_nothing(store, provider):
    """It is a `DecryptionError` on every call, told apart from damage, and the file stays as it is."""
    provider.set_secret("key", "value")
    provider.close()
    before, stamp = store.read_bytes(), store.stat().st_mtime_ns
    with FileSecretProvider(store, generate_key()) as wrong:
        for call in _every_call(wrong).values():
            with pytest.raises(DecryptionError) as caught:
                call()
            assert type(caught.value) is DecryptionError
    assert (store.read_bytes(), store.stat().st_mtime_ns) == (before, stamp)
    assert os.listdir(store.parent) == ["store"]


@pytest.mark.parametrize("content", [b"", b"\n", b"srk1_rubbish", b"\xff\xfe", b"x" * 5000])
def test_key_files_that_hold_no_key(tmp_path, content):
    """They are an error that names the file and does not show what is in it."""
    key = tmp_path / "app.key"
    key.touch(mode=0o600)
    key.write_bytes(content)
    with (
        FileSecretProvider(tmp_path / "store", key_file=key) as provider,
        pytest.raises(ConfigurationError, match=r"app\.key") as caught,
    ):
        provider.set_secret("key", "value")
    assert "rubbish" not in f"{caught.value}{caught.value.__context__!r}"
    assert key.read_bytes() == content


# --- versions ---


def test_oldest_versions_are_dropped(store):
    """Beyond `max_versions` the oldest ones go, also from the file; pending ones stay."""
    with FileSecretProvider(store, KEY, max_versions=3) as provider:
        provider.set_secret("key", "0")
        pending = provider.stage_secret("key", "pending")
        for turn in range(1, 8):
            provider.set_secret("key", str(turn))
        versions = provider.list_versions("key")
        assert [version.state for version in versions] == ["current", "previous", "pending"]
        assert provider.get_secret_version("key", pending) == "pending"
        assert provider.verify() == []
        provider.delete_secret("key")
        provider.close()
    with closing(sqlite3.connect(store)) as connection:
        assert connection.execute(
            "SELECT (SELECT count(*) FROM value), (SELECT count(*) FROM history)"
        ).fetchone() == (0, 0)


def test_version_ids_are_never_used_twice(provider):
    """Not after a delete, not after a discard, not after the store was closed."""
    seen = set()
    for turn in range(5):
        seen.add(provider.set_secret_if("key", str(turn), None))
        pending = provider.stage_secret("key", "pending")
        seen.add(pending)
        provider.discard_version("key", pending)
        provider.delete_secret("key")
        provider.close()
    assert len(seen) == 10


def test_times_come_from_the_clock(store):
    """Creation, update and promotion are when they were; a clock that goes back makes nothing older."""
    now = NOON
    with FileSecretProvider(store, KEY, clock=lambda: now) as provider:
        provider.set_secret("key", "one")
        now = NOON + timedelta(hours=1, microseconds=1)
        pending = provider.stage_secret("key", "two")
        before = provider.describe_secret("key")
        assert before.updated_at == NOON
        now = NOON + timedelta(days=1)
        provider.promote_version("key", pending, expected_version=before.version)
        described = provider.describe_secret("key")
        assert (described.created_at, described.updated_at) == (NOON, now)
        assert provider.list_versions("key")[0].created_at == NOON + timedelta(hours=1, microseconds=1)
        now = NOON - timedelta(days=1)
        provider.set_secret("key", "three")
        assert provider.describe_secret("key").updated_at == NOON


def test_batches_are_one_transaction(provider):
    """A batch that fails writes nothing of it."""
    provider.set_secret("a", "old")
    with pytest.raises(TypeError):
        provider.set_secrets({"a": "new", "b": 7})
    assert provider.get_secrets(["a", "b"]) == {"a": "old"}


@pytest.mark.parametrize("how_many", [149, 150, 151])
def test_batches_of_short_and_long_values(store, how_many):
    """Rows that are added together, and those that are added alone, are read back."""
    values = {f"k{number:03d}": f"of {number}" for number in range(how_many)} | {"k070": "x" * 2_000_000}
    with FileSecretProvider(store, KEY) as provider:
        provider.set_secrets(values)
        assert provider.get_secrets(values) == values
        assert provider.verify() == []


def test_keys_that_come_back_where_all_were_deleted(store):
    """They are read and listed, and the store is whole: its keys can be backed up and put under a new one."""
    keys = [f"{number:03d}/{'x' * 500}" for number in range(120)]
    with FileSecretProvider(store, KEY) as provider:
        provider.set_secrets(dict.fromkeys(keys, "old"))
        for key in keys[:80]:
            provider.delete_secret(key)
        provider.set_secrets({**dict.fromkeys(keys[10:60], "new"), "000": "first"})
        there = dict.fromkeys(keys[80:], "old") | dict.fromkeys(keys[10:60], "new") | {"000": "first"}
        assert provider.get_secrets([*keys, "000"]) == there
        assert provider.list_secrets() == sorted(there)
        assert {key: provider.get_secret(key) for key in there} == there
        assert provider.verify() == []
        provider.rekey(generate_key())
        assert provider.get_secrets([*keys, "000"]) == there


def test_a_value_that_is_too_large(provider, monkeypatch):
    """Beyond the limit it is `SecretTooLargeError`, and the old value stays."""
    provider.set_secret("key", "old")
    monkeypatch.setattr(provider_module, "MAX_VALUE_BYTES", 10)
    with pytest.raises(SecretTooLargeError) as caught:
        provider.set_secret("key", "ключключ")
    assert caught.value.key == "key"
    assert provider.get_secret("key") == "old"


def test_a_large_value(provider):
    """A megabyte is nothing special."""
    value = "ö" * 500_000
    provider.set_secret("key", value)
    provider.close()
    assert provider.get_secret("key") == value


# --- files ---


def test_one_file_after_the_last_close(store):
    """While others have it open SQLite's files lie beside it; after the last close it is complete alone."""
    first, second = FileSecretProvider(store, KEY), FileSecretProvider(store, KEY)
    first.set_secret("a", "1")
    second.set_secret("b", "2")
    first.close()
    assert second.get_secret("a") == "1"
    second.close()
    assert os.listdir(store.parent) == ["store"]
    copy = store.with_name("copy")
    shutil.copy(store, copy)
    with FileSecretProvider(copy, KEY) as provider:
        assert provider.get_secrets(["a", "b"]) == {"a": "1", "b": "2"}


def test_any_call_opens_again(provider):
    """A closed provider is not used up."""
    provider.set_secret("key", "value")
    provider.close()
    assert provider.get_secret("key") == "value"


def _link(path):
    target = path.with_name("target")
    with FileSecretProvider(target, KEY) as provider:
        provider.set_secret("key", "value")
    path.symlink_to(target)


def _socket(path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


@pytest.mark.parametrize("make", [_link, Path.mkdir, os.mkfifo, _socket, lambda path: path.symlink_to("nowhere")],
                         ids=["link", "folder", "pipe", "socket", "dangling link"])  # fmt: skip
def test_what_is_no_plain_file(store, make, monkeypatch):
    """Links, folders, pipes and sockets are refused, as store and as key file, without waiting for anybody."""
    monkeypatch.chdir(store.parent)  # a socket's path must be short
    make(Path("store"))
    with FileSecretProvider("store", KEY) as provider:
        for call in _every_call(provider).values():
            with pytest.raises(ConfigurationError):
                call()
    with FileSecretProvider("other", key_file="store") as provider, pytest.raises(ConfigurationError):
        provider.set_secret("key", "value")
    assert not Path("other").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_belongs_to_others(store, provider):
    """Files of another user are refused: the store, the key file, and SQLite's own beside the store."""
    provider.set_secret("key", "value")
    provider.close()
    os.chown(store, 12345, -1)
    with pytest.raises(ConfigurationError, match="another user"):
        provider.get_secret("key")
    os.chown(store, 0, -1)
    log = Path(f"{store}-wal")
    log.touch()
    os.chown(log, 12345, -1)
    with pytest.raises(ConfigurationError, match="another user"):
        provider.get_secret("key")
    log.unlink()
    key = store.with_name("app.key")
    key.write_text(KEY)
    os.chown(key, 12345, -1)
    with (
        FileSecretProvider(store, key_file=key) as other,
        pytest.raises(ConfigurationError, match="another user"),
    ):
        other.get_secret("key")


def test_a_link_in_the_place_of_the_log(store, provider):
    """Nobody can make SQLite write elsewhere."""
    provider.set_secret("key", "value")
    provider.close()
    victim = store.with_name("victim")
    victim.write_text("precious")
    Path(f"{store}-wal").symlink_to(victim)
    with pytest.raises(ConfigurationError):
        provider.set_secret("key", "new")
    assert victim.read_text() == "precious"


def test_a_database_of_another_program(store, provider):
    """It is refused and not touched; so is a store of a newer format."""
    with closing(sqlite3.connect(store)) as connection:
        connection.execute("CREATE TABLE precious (data)")
        connection.commit()
    before = store.read_bytes()
    for call in _every_call(provider).values():
        with pytest.raises(ConfigurationError, match="not a strongroom store"):
            call()
    assert store.read_bytes() == before
    store.unlink()
    provider.set_secret("key", "value")
    provider.close()
    with closing(sqlite3.connect(store)) as connection:
        connection.execute("PRAGMA user_version=3")
    before = store.read_bytes()
    for call in _every_call(provider).values():
        with pytest.raises(ConfigurationError, match="format 3"):
            call()
    assert store.read_bytes() == before


def test_a_store_that_was_replaced_is_noticed(store, provider):
    """When `restore` moves a damaged store aside, who has it open reads and writes the new one."""
    provider.set_secret("key", "value")
    provider.backup(store.with_name("copy"))
    provider.set_secret("key", "newer")
    assert provider.get_secret("key") == provider.get_secret("key") == "newer"
    with closing(sqlite3.connect(store)) as connection:
        connection.execute("UPDATE header SET body=zeroblob(70)")
        connection.commit()
    with FileSecretProvider(store, KEY) as other:
        other.restore(store.with_name("copy"))
    provider._session._look_at = 0  # a second later
    assert provider.get_secret("key") == "value"
    provider.set_secret("new", "written to the new one")
    provider.close()
    assert provider.get_secrets(["key", "new"]) == {"key": "value", "new": "written to the new one"}
    assert provider.verify() == []


def test_a_write_is_never_lost_in_a_replaced_store(store, provider):
    """A write looks first, however recently a read did."""
    provider.set_secret("key", "value")
    provider.backup(store.with_name("copy"))
    with closing(sqlite3.connect(store)) as connection:
        connection.execute("UPDATE header SET body=zeroblob(70)")
        connection.commit()
    with FileSecretProvider(store, KEY) as other:
        other.restore(store.with_name("copy"))
        provider.set_secret("key", "new")
        assert other.get_secret("key") == "new"


def test_network_file_systems_are_refused(store, provider, tmp_path, monkeypatch):
    """What Linux calls a network file system is not a place for a store; what cannot be told is."""
    provider.set_secret("key", "value")
    provider.close()
    device = store.stat().st_dev
    mounts = tmp_path / "mountinfo"
    monkeypatch.setattr(files, "_MOUNTS", mounts)
    line = f"36 35 {os.major(device)}:{os.minor(device)} / /mnt rw,noatime shared:1 - {{}} server:/x rw\n"
    mounts.write_text("1 2 0:0 / / rw - tmpfs tmpfs rw\n" + line.format("nfs4"))
    with pytest.raises(ConfigurationError, match="network file system"):
        provider.get_secret("key")
    with FileSecretProvider(store.with_name("new"), KEY) as new, pytest.raises(ConfigurationError):
        new.set_secret("key", "value")
    mounts.write_text(line.format("ext4"))
    assert provider.get_secret("key") == "value"
    provider.close()
    mounts.unlink()
    assert provider.get_secret("key") == "value"


# --- reading only ---


@pytest.fixture
def read_only(tmp_path, make_read_only):
    """A read-only folder with a store and its key file."""
    folder = tmp_path / "folder"
    with FileSecretProvider(folder / "store", key_file=folder / "app.key") as provider:
        provider.set_secret("key", "one")
        provider.set_secret("key", "value")
    make_read_only(folder)
    return folder


def test_a_read_only_folder_can_be_read(read_only):
    """A mounted secret opens for reading; writes are `ReadOnlyError`."""
    writes = {"set", "delete", "set many", "set if", "stage", "promote", "discard", "rekey"}
    with FileSecretProvider(read_only / "store", key_file=read_only / "app.key") as provider:
        assert provider.get_secret("key") == provider.get_secret("key") == "value"
        assert provider.list_secrets() == ["key"]
        assert len(provider.list_versions("key")) == 2
        assert provider.verify() == []
        for name, call in _every_call(provider).items():
            if name in writes:
                with pytest.raises(ReadOnlyError):
                    call()
        provider.backup(read_only.parent / "copy")
        with pytest.raises(ReadOnlyError):
            provider.restore(read_only.parent / "copy")
    with FileSecretProvider(read_only / "new", KEY) as new:
        assert new.list_secrets() == []
        with pytest.raises(ReadOnlyError):
            new.set_secret("key", "value")
    assert sorted(os.listdir(read_only)) == ["app.key", "store"]


@pytest.mark.skipif(
    os.geteuid() == 0 and shutil.which("setpriv") is None, reason="root needs setpriv to be refused anything"
)
def test_a_store_that_may_not_be_read_is_denied_and_named(tmp_path):
    """SQLite says only that it is unable to open a file, which is not that the backend is down."""
    store = tmp_path / "store"
    with FileSecretProvider(store, KEY) as provider:
        provider.set_secret("key", "value")
    store.chmod(0)
    without_rights = ["setpriv", "--inh-caps=-all", "--bounding-set=-dac_override,-dac_read_search"]
    code = (
        "import sys\n"
        "from strongroom.errors import PermissionDeniedError\n"
        "from strongroom_file import FileSecretProvider\n"
        "try:\n"
        "    FileSecretProvider(sys.argv[1], sys.stdin.read()).get_secret('key')\n"
        "except PermissionDeniedError as error:\n"
        "    print(error.message, error.hint.partition(',')[0], sep='; ')\n"
    )
    done = subprocess.run(
        [*(without_rights if os.geteuid() == 0 else []), sys.executable, "-c", code, str(store)],
        input=KEY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.stdout, done.returncode) == (
        f"may not read {store}; let this user have the right\n",
        0,
    ), done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="takes another view of the folder, which only root can make")
def test_a_read_only_view_follows_changes(tmp_path):
    """Who sees the folder read-only sees what others replace there."""
    real, seen = tmp_path / "real", tmp_path / "seen"
    real.mkdir()
    seen.mkdir()
    with FileSecretProvider(real / "store", KEY) as writer:
        writer.set_secret("key", "one")
    if subprocess.run(["mount", "--bind", str(real), str(seen)], capture_output=True, check=False).returncode:
        pytest.skip("no bind mounts here")
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", str(seen)], check=True)
        with FileSecretProvider(seen / "store", KEY) as reader:
            assert reader.get_secret("key") == "one"
            with FileSecretProvider(real / "store", KEY) as writer:
                for value in ("two", "three"):
                    writer.set_secret("key", value)  # into the log beside the file
                    assert reader.get_secret("key") == value
            assert reader.get_secret("key") == "three"
            assert reader.verify() == []
    finally:
        subprocess.run(["umount", str(seen)], check=True)


def test_system_errors_are_translated(tmp_path):
    """The operating system's refusals become errors of the right class."""
    import errno

    for number, expected in (
        (errno.EACCES, PermissionDeniedError),
        (errno.EROFS, ReadOnlyError),
        (errno.ENOSPC, ConnectionError),
    ):
        with pytest.raises(expected) as caught, files.translated_os(tmp_path, "read"):
            raise OSError(number, os.strerror(number))
        assert caught.value.provider == "file"


# --- what it costs, and what it waits for ---


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """A store with 10,000 secrets."""
    store = tmp_path_factory.mktemp("many") / "store"
    with FileSecretProvider(store, KEY) as provider:
        provider.set_secrets({f"app/{number:05d}/password": "v" * 32 for number in range(10_000)})
    return store


def test_every_commit_waits_for_the_disk(provider):
    """Synchronous FULL with a log: what is acknowledged survives a loss of power."""
    provider.set_secret("key", "value")
    session = provider._session
    for connection in (session.reader, session._writer):
        pragmas = {
            name: connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("synchronous", "journal_mode", "fullfsync", "checkpoint_fullfsync", "secure_delete")
        }
        assert pragmas == {
            "synchronous": 2, "journal_mode": b"wal", "fullfsync": 1, "checkpoint_fullfsync": 1, "secure_delete": 1,
        }  # fmt: skip


def test_a_set_writes_two_pages(many):
    """The value's and the root's, but for the one set in some sixty that brings the others into the tree."""
    with FileSecretProvider(many, KEY) as provider:
        log = many.with_name(f"{many.name}-wal")
        provider.set_secret("app/00000/password", "new")
        pages = []
        for number in range(150):
            before = log.stat().st_size
            provider.set_secret(f"app/{number * 61:05d}/password", "new")
            pages.append((log.stat().st_size - before) // (4096 + 24))
        assert sorted(pages)[len(pages) // 2] == 2
        assert sum(page > 10 for page in pages) <= 3
        assert sum(pages) / len(pages) < 5


def test_proofs_are_short(many, monkeypatch):
    """That a key is there, or is not, or which begin alike, takes the nodes on the way and no others."""
    loaded = []
    real = Snapshot.load_fresh

    def load(self, row, tag):
        loaded.append(row)
        return real(self, row, tag)

    monkeypatch.setattr(Snapshot, "load_fresh", load)

    def nodes(call):
        loaded.clear()
        with FileSecretProvider(many, KEY) as provider:
            call(provider)
        return len(loaded)

    def absent(provider):
        with pytest.raises(SecretNotFoundError):
            provider.get_secret("app/05000/passwords")

    assert nodes(lambda provider: provider.get_secret("app/05000/password")) <= 3
    assert nodes(absent) <= 3
    assert nodes(lambda provider: provider.list_secrets("app/0500")) <= 4
    assert nodes(lambda provider: provider.list_secrets("nothing")) <= 4
    assert nodes(lambda provider: provider.list_secrets()) > 200


# --- the pieces ---


def test_headers_out_of_bounds(store):
    """A header that asks for too much or too little of the derivation is refused before it is done."""
    from strongroom.encryption.keys import Argon2Parameters
    from strongroom.errors import TamperedError

    material = read_key("passphrase")
    header = new_header(material)
    body = header._replace(cost=Argon2Parameters(2, 19_456, 1)).pack(material)
    assert open_header(body).is_opened_by(material, body)
    for offset, value in ((33, 200), (37, 0x7FFFFFFF), (33, 0)):
        import hashlib

        forged = bytearray(body[:-8])
        forged[offset : offset + 4] = value.to_bytes(4, "big")
        with pytest.raises(TamperedError, match="out of bounds"):
            open_header(bytes(forged) + hashlib.blake2b(forged, digest_size=8).digest())


def test_the_key_wears_out(provider):
    """After 2^32 encryptions under one key a new one is asked for."""
    from strongroom.errors import EncryptionError

    check_seals(MAX_SEALS - 1)
    with pytest.raises(EncryptionError, match="rekey"):
        check_seals(MAX_SEALS)
    assert MAX_SEALS == 2**32
    provider.set_secret("key", "value")
    before = provider._session.read(lambda view: view.root.seals)
    provider.set_secret("key", "value")
    assert provider._session.read(lambda view: view.root.seals) - before == 2


def test_importing_loads_little(tmp_path):
    """The provider's module needs neither sqlite3 nor cryptography; a read needs no more than these two."""
    code = f"""
import sys
import strongroom_file.provider
assert not sys.modules.keys() & {{"sqlite3", "cryptography", "pydantic", "yaml", "pluggy"}}
provider = strongroom_file.FileSecretProvider({str(tmp_path / "store")!r}, {KEY!r})
provider.list_secrets()
assert "ctypes" not in sys.modules
assert not sys.modules.keys() & {{"asyncio", "logging", "pydantic", "cryptography.fernet", "cryptography.x509"}}
"""
    with FileSecretProvider(tmp_path / "store", KEY) as provider:
        provider.set_secret("key", "value")
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)


def test_two_make_the_key_file_at_once(tmp_path, monkeypatch):
    """Who comes second takes the key of who came first."""
    key = tmp_path / "app.key"
    real = key_source.generate_key

    def slow():
        key.touch(mode=0o600)
        key.write_text(f"{KEY}\n")
        return real()

    monkeypatch.setattr(key_source, "generate_key", slow)
    with FileSecretProvider(tmp_path / "store", key_file=key) as provider:
        provider.set_secret("key", "value")
    assert key.read_text() == f"{KEY}\n"
    with FileSecretProvider(tmp_path / "store", KEY) as provider:
        assert provider.get_secret("key") == "value"
    assert sorted(os.listdir(tmp_path)) == ["app.key", "store"]


def test_a_first_read_of_another_key_takes_no_transaction(provider, store):
    """What is known of the tree leads to the value; that nobody has written since is read with it."""
    values = {f"k{number:04d}": f"of {number}" for number in range(600)}
    provider.set_secrets(values)
    provider.get_secret("k0000")
    statements = []
    provider._session._cursor.connection.set_trace_callback(statements.append)
    assert {key: provider.get_secret(key) for key in values} == values
    assert not [one for one in statements if one.startswith(("BEGIN", "PRAGMA"))]
    assert len([one for one in statements if " FROM node" in one]) < len(values) / 5
    with FileSecretProvider(store, KEY) as other:
        other.get_secret("k0000")
        provider.set_secret("k0300", "another")
        provider.delete_secret("k0301")
        assert (other.get_secret("k0300"), other.get_secret("k0302")) == ("another", "of 302")
        with pytest.raises(SecretNotFoundError):
            other.get_secret("k0301")
        provider.set_secrets(dict.fromkeys(values, "all new"))
        assert {other.get_secret(key) for key in values} == {"all new"}


@pytest.mark.parametrize("path", ["file/store", "file/folder/store", "x" * 300])
def test_a_path_that_no_file_can_have_is_a_wrong_configuration(tmp_path, path):
    """It is not an outage, which may end by itself."""
    (tmp_path / "file").write_text("mine")
    for store in (
        FileSecretProvider(tmp_path / path, generate_key()),
        FileSecretProvider(tmp_path / "store", key_file=tmp_path / path),
    ):
        with store, pytest.raises(ConfigurationError) as refused:
            store.set_secret("k", "v")
        assert refused.value.hint == "correct the path"
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


@pytest.fixture
def without_collections():
    """Python does not look for garbage meanwhile: what is freed is freed with its last reference."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def test_a_store_that_nobody_closed_is_not_carried_over_a_fork(store, without_collections):
    """It is closed with its last reference: SQLite would take its parent's locks for those of the child."""
    provider = FileSecretProvider(store, KEY)
    provider.set_secret("a", "value")
    assert provider.get_secret("a") == "value"
    assert os.listdir(store.parent) != [store.name]  # open: there is a log beside it
    del provider
    assert os.listdir(store.parent) == [store.name]


def open_in_a_child(path):
    """Return whether a process that is forked now has the file open."""
    asked = path.stat()
    child = os.fork()
    if child == 0:
        code = 2
        try:
            code = any(is_open(number, asked) for number in range(256))
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def is_open(number, asked):
    try:
        return os.path.samestat(os.fstat(number), asked)
    except OSError:
        return False


@pytest.mark.parametrize("kind", ["store", "cache"])
@pytest.mark.parametrize("how", ["let go of", "found as garbage", "closed"])
def test_a_fork_in_the_middle_of_an_end_inherits_nothing(store, without_collections, monkeypatch, kind, how):
    """Nobody has the provider by then, but its file is still open: SQLite's memory of its locks would be copied."""
    if kind == "store":
        provider = FileSecretProvider(store, KEY)
        provider.set_secret("a", "value")
        assert provider.get_secret("a") == "value"
        ends = Session
    else:
        provider, watched = FileCacheStore(store), threading.Event()
        if how == "closed":
            provider.subscribe(lambda _: watched.set())
            assert watched.wait(60)
        provider.set("a", b"value", 60)
        ends = Watcher
    found = []
    if how == "closed":
        end = ends.close
        monkeypatch.setattr(ends, "close", lambda one: (found.append(open_in_a_child(store)), end(one)))
        provider.close()
    else:
        # Called between the last reference, or the look for garbage, and the end of what it had.
        watching = weakref.ref(provider, lambda _: found.append(open_in_a_child(store)))
        circle = [provider] if how == "found as garbage" else []
        circle.append(circle)
        del provider, circle
        gc.collect()
        del watching
    assert found == [0]


def test_a_store_that_is_found_as_garbage_does_not_wait_for_a_fork(store):
    """The fork may wait for this very thread, which was at work on another store as Python looked for garbage."""
    provider = FileSecretProvider(store, KEY)
    provider.set_secret("a", "value")
    writing, taken, over, in_time = provider._session.writing, threading.Event(), threading.Event(), []

    def fork():
        with writing:
            taken.set()
            in_time.append(over.wait(10))

    forking = threading.Thread(target=fork)
    forking.start()
    assert taken.wait(60)
    del provider
    gc.collect()
    over.set()
    forking.join()
    assert in_time == [True]


class Busy:
    """A lock that another thread has for longer than a fork waits."""

    def acquire(self, *_, **__):
        return False


def test_a_child_leaves_its_parents_store_open(store, without_collections):
    """Also if the parent could not close it before the fork, since a thread was using it."""
    provider = FileSecretProvider(store, KEY)
    provider.set_secret("a", "value")
    session = provider._session
    session.connections._locks = [Busy()]
    child = os.fork()
    if child == 0:
        reader, code = session.reader, 1
        try:
            del provider, session
            reader.execute("SELECT 1")  # which an end of its session would have closed
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert provider._session is session
    assert provider.get_secret("a") == "value"
    provider.close()
