"""A store of format 1 becomes one of the present format: whole, with a copy of what it was, or not at all."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest
from strongroom.encryption.keys import generate_key
from strongroom.errors import ConfigurationError, ConflictError, DecryptionError, ReadOnlyError, TamperedError
from strongroom_file import FileSecretProvider
from strongroom_file.maintenance import migrate
from strongroom_file.store import database
from strongroom_file.store.format import FORMAT_VERSION

DATA = Path(__file__).with_name("data")
"""A store that the code before format 2 made, and all that it said of it."""
TOLD = json.loads((DATA / "format-1.json").read_text("utf-8"))
KEY, ANCHOR, SECRETS = TOLD["key"], TOLD["anchor"], TOLD["secrets"]
COPY = f"store.format-1-{ANCHOR.split(':')[1]}"


@pytest.fixture
def store(tmp_path):
    store = tmp_path / "store"
    shutil.copyfile(DATA / "format-1.db", store)
    store.chmod(0o600)
    return store


def _format(path):
    with closing(sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)) as connection:
        return connection.execute("PRAGMA user_version").fetchone()[0]


def _all_of(provider):
    """Say everything of a store in the form of the data."""
    secrets = {}
    for key in [*provider.list_secrets(), "only/pending"]:
        versions = [
            [
                version.version,
                version.created_at.isoformat(),
                version.state,
                provider.get_secret_version(key, version.version),
            ]
            for version in provider.list_versions(key)
        ]
        found = None
        if key != "only/pending":
            described = provider.describe_secret(key)
            found = [described.version, described.created_at.isoformat(), described.updated_at.isoformat()]
        secrets[key] = [found, versions]
    return secrets


def _assert_whole(store, key=KEY):
    with FileSecretProvider(store, key) as provider:
        assert _all_of(provider) == SECRETS
        assert provider.verify() == []


def test_everything_is_kept_and_a_copy_stays(store, tmp_path):
    """Values, versions, states and dates are the same; writes go on; the copy is the old store."""
    old = os.umask(0)
    try:
        with FileSecretProvider(store, KEY, max_versions=4) as provider:
            assert _all_of(provider) == SECRETS
            assert provider.verify(ANCHOR) == []
            provider.set_secret("app/0/ключ", "after")
            assert provider.get_secret("app/0/ключ") == "after"
            assert provider.verify() == []
    finally:
        os.umask(old)
    assert sorted(os.listdir(tmp_path)) == ["store", COPY]
    assert _format(store) == FORMAT_VERSION
    assert _format(tmp_path / COPY) == 1
    assert stat.S_IMODE((tmp_path / COPY).stat().st_mode) == 0o600
    before = (tmp_path / COPY).read_bytes()
    with FileSecretProvider(store, KEY) as provider:
        provider.list_secrets()
    assert (tmp_path / COPY).read_bytes() == before
    assert len(os.listdir(tmp_path)) == 2
    with FileSecretProvider(store, KEY) as provider:
        provider.restore(tmp_path / COPY)
        found = _all_of(provider)
    assert found == SECRETS
    assert _format(store) == FORMAT_VERSION


def test_a_copy_is_restored_where_there_is_no_store(store, tmp_path):
    """A backup of format 1 becomes a store of the present format without a further copy."""
    with FileSecretProvider(tmp_path / "other", KEY) as provider:
        provider.restore(store)
    assert sorted(os.listdir(tmp_path)) == ["other", "store"]
    assert (_format(store), _format(tmp_path / "other")) == (1, FORMAT_VERSION)
    _assert_whole(tmp_path / "other")


def test_what_may_only_be_read_is_read_as_it_is(tmp_path, make_read_only):
    """In a folder that is read-only nothing is written, and everything can be read."""
    folder = tmp_path / "folder"
    folder.mkdir()
    store = folder / "store"
    shutil.copyfile(DATA / "format-1.db", store)
    before = store.read_bytes()
    make_read_only(folder)
    _assert_whole(store)
    with FileSecretProvider(store, KEY) as provider, pytest.raises(ReadOnlyError):
        provider.set_secret("a", "b")
    assert store.read_bytes() == before
    assert os.listdir(folder) == ["store"]


def test_a_reader_sees_the_change_of_format(store, monkeypatch):
    """Who opened the old format for reading only goes on when somebody else brings it to the present one."""
    from strongroom_file import files

    with monkeypatch.context() as patch:
        patch.setattr(files, "is_writable", lambda _: False)
        reader = FileSecretProvider(store, KEY)
        assert reader.get_secret("app/1/ключ") == "value 1"
        with pytest.raises(ReadOnlyError):
            reader.set_secret("a", "b")
    with FileSecretProvider(store, KEY) as writer:
        writer.set_secret("app/1/ключ", "new")
        assert reader.get_secret("app/1/ключ") == "new"
        assert reader.verify() == []
    reader.close()


STEPS = {
    "before the copy": (migrate, "copied"),
    "before the copy has its name": (migrate.files, "place_new"),
    "before the root": (migrate, "write_root"),
    "before the format": (database, "set_format"),
}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_at_any_step(store, tmp_path, step, after):
    """A process killed there leaves the old store or the new one, and the next one goes on."""
    child = os.fork()
    if not child:  # pragma: no cover  # another process
        owner, name = STEPS[step]
        real = getattr(owner, name)

        def die(*arguments, **options):
            if after:
                real(*arguments, **options)
            os.kill(os.getpid(), signal.SIGKILL)

        setattr(owner, name, die)
        FileSecretProvider(store, KEY).get_secret("app/1/ключ")
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    _assert_whole(store)
    assert _format(store) == FORMAT_VERSION
    kept = [name for name in os.listdir(tmp_path) if not name.endswith(".tmp")]
    assert sorted(kept) == ["store", COPY]
    assert _format(tmp_path / COPY) == 1


def test_a_copy_of_another_state_is_not_overwritten(store, tmp_path):
    """Where the name of the copy is taken the store stays as it is, and the file there too."""
    (tmp_path / COPY).write_bytes(b"")
    with FileSecretProvider(store, KEY) as provider, pytest.raises(TamperedError):
        provider.get_secret("app/1/ключ")
    with FileSecretProvider(tmp_path / "other", KEY) as other:
        other.set_secret("a", "b")
    shutil.move(tmp_path / "other", tmp_path / COPY)
    before = (tmp_path / COPY).read_bytes()
    with FileSecretProvider(store, KEY) as provider, pytest.raises(ConflictError, match="already exists"):
        provider.get_secret("app/1/ключ")
    assert (tmp_path / COPY).read_bytes() == before
    assert _format(store) == 1
    (tmp_path / COPY).unlink()
    (tmp_path / COPY).symlink_to(tmp_path / "elsewhere")
    with FileSecretProvider(store, KEY) as provider, pytest.raises(ConfigurationError, match="symbolic link"):
        provider.get_secret("app/1/ключ")
    assert not (tmp_path / "elsewhere").exists()


def test_what_cannot_be_read_is_not_rewritten(store, tmp_path):
    """A wrong key, a damaged root, and a store of now that says it is of format 1: nothing changes."""
    before = store.read_bytes()
    with FileSecretProvider(store, generate_key()) as provider, pytest.raises(DecryptionError):
        provider.get_secret("app/1/ключ")
    assert store.read_bytes() == before
    with closing(sqlite3.connect(store)) as connection:
        connection.execute("UPDATE root SET body=zeroblob(88)")
        connection.commit()
    with FileSecretProvider(store, KEY) as provider, pytest.raises(TamperedError):
        provider.get_secret("app/1/ключ")
    assert _format(store) == 1
    store.unlink()
    with FileSecretProvider(store, KEY) as provider:
        provider.set_secret("a", "b")
    with closing(sqlite3.connect(store)) as connection:
        connection.execute("PRAGMA user_version=1")
    with FileSecretProvider(store, KEY) as provider:
        with pytest.raises(TamperedError):
            provider.get_secret("a")
        with pytest.raises(TamperedError):
            provider.set_secret("a", "c")
    assert os.listdir(tmp_path) == ["store"]


def test_what_is_damaged_beside_stays_so(store):
    """A missing value keeps nobody from the others, and is told as before."""
    with closing(sqlite3.connect(store)) as connection:
        connection.execute("DELETE FROM value WHERE id=3")
        connection.commit()
    with FileSecretProvider(store, KEY) as provider:
        assert provider.get_secret("app/0/ключ") == "value 0"
        with pytest.raises(TamperedError):
            provider.get_secret("app/1/ключ")
        assert len(provider.verify()) == 1


def test_many_at_once(store, tmp_path):
    """One of them makes the copy, and all go on."""
    code = f"""
from strongroom_file import FileSecretProvider
import sys
with FileSecretProvider({str(store)!r}, {KEY!r}) as provider:
    provider.set_secret(sys.argv[1], "here")
"""
    threads = [
        threading.Thread(target=subprocess.run, args=([sys.executable, "-c", code, f"by/{number}"],))
        for number in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with FileSecretProvider(store, KEY) as provider:
        assert provider.get_secrets(f"by/{number}" for number in range(4)) == {
            f"by/{number}": "here" for number in range(4)
        }
        assert provider.verify() == []
    assert sorted(os.listdir(tmp_path)) == ["store", COPY]


def test_no_room_for_the_copy(store, tmp_path):
    """Where the disk is full the store stays as it was."""
    code = f"""
import resource, signal
from strongroom_file import FileSecretProvider
from strongroom.errors import BackendUnavailableError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (16_384, resource.RLIM_INFINITY))
try:
    FileSecretProvider({str(store)!r}, {KEY!r}).get_secret("app/1/ключ")
except BackendUnavailableError:
    print("told")
"""
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=300
    )
    assert (done.stdout, done.stderr) == ("told\n", "")
    assert [name for name in os.listdir(tmp_path) if name == COPY] == []
    assert _format(store) == 1
    _assert_whole(store)
