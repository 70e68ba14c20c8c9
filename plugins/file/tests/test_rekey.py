"""A new key for everything: at any crash the store opens with the key file as it is."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing

import pytest
from strongroom.encryption import keyfiles
from strongroom.encryption.keys import format_key, generate_key
from strongroom.errors import ConfigurationError, DecryptionError, TamperedError
from strongroom.paths import new_file
from strongroom_file import FileSecretProvider, files, key_source
from strongroom_file.maintenance import rekey
from strongroom_file.store.format import TABLES


@pytest.fixture
def paths(tmp_path):
    return tmp_path / "store", tmp_path / "app.key"


def _filled(paths):
    provider = FileSecretProvider(paths[0], key_file=paths[1])
    provider.set_secrets({f"key/{number}": f"value {number}" for number in range(150)})
    provider.set_secret("key/1", "second")
    provider.stage_secret("key/2", "pending")
    return provider


def _picture(provider):
    keys = provider.list_secrets()
    return {
        key: (provider.describe_secret(key), [(version, provider.get_secret_version(key, version.version)) for version in provider.list_versions(key)])
        for key in keys
    }  # fmt: skip


def _bodies(store):
    with closing(sqlite3.connect(store)) as connection:
        return {body for table in TABLES for (body,) in connection.execute(f"SELECT body FROM {table}")}


def test_everything_is_under_the_new_key(paths):
    """Values, versions, dates and ids stay; no row and no byte of the old ciphertexts does."""
    store, key = paths
    with _filled(paths) as provider:
        before = _picture(provider)
        provider.close()
        rows, old_key = _bodies(store), key.read_text()
        done, key_id = [], provider.key_id()
        old = provider.rekey(progress=lambda *arguments: done.append(arguments))
        assert old == key.with_name(f"app.key.old-{key_id}")
        assert (old.read_text(), old.stat().st_mode & 0o777) == (old_key, 0o600)
        assert provider.key_id() != key_id
        assert _picture(provider) == before
        assert provider.verify() == []
    assert done[-1] == (150, 150)
    assert key.read_text() != old_key
    assert sorted(os.listdir(store.parent)) == ["app.key", old.name, "store"]
    data = store.read_bytes()
    assert not any(row[12:] in data for row in rows)
    with FileSecretProvider(store, old_key.strip()) as old, pytest.raises(DecryptionError):
        old.list_secrets()


def test_readers_are_undisturbed(paths):
    """Another provider with the same key file reads before, meanwhile and after, and writes on."""
    with _filled(paths) as provider, FileSecretProvider(paths[0], key_file=paths[1]) as other:
        seen = []
        provider.rekey(progress=lambda *_: seen.append(other.get_secret("key/1")))
        assert set(seen) == {"second"}
        assert other.get_secret("key/1") == "second"
        other.set_secret("key/1", "third")
        assert provider.get_secret("key/1") == "third"


class Crash(BaseException):
    """Stands for the end of the process."""


def _crash(*_args, **_kwargs):
    raise Crash


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (new_file.NewFile, "write"),
        (keyfiles, "keep_out_of_git"),
        (key_source, "generate_key"),
        (rekey, "new_header"),
        (rekey.Root, "pack"),
        (key_source, "replace"),
    ],
    ids=[
        "before the old key is kept",
        "before git is told",
        "before the next key",
        "before the rows",
        "before the commit",
        "before the key file",
    ],
)
def test_a_crash_at_any_point(paths, module, name, monkeypatch):
    """Whatever a crash leaves opens with the key file as it is, and the next rekey goes through."""
    with _filled(paths) as provider:
        before = _picture(provider)
        provider.close()
        with monkeypatch.context() as patched:
            patched.setattr(module, name, _crash)
            with pytest.raises(Crash):
                provider.rekey()
    for _ in range(2):
        with FileSecretProvider(paths[0], key_file=paths[1]) as again:
            assert _picture(again) == before
            assert again.verify() == []
            again.rekey()
            assert _picture(again) == before
    left = [name for name in os.listdir(paths[0].parent) if not name.endswith(".tmp")]
    assert sorted(name for name in left if ".old-" not in name) == ["app.key", "store"]


def test_a_killed_rekey(paths):
    """A process that dies in the midst of the rows leaves the store under the old key, and the next key waiting."""
    with _filled(paths) as provider:
        before, key = _picture(provider), paths[1].read_text()
    child = os.fork()
    if not child:
        FileSecretProvider(paths[0], key_file=paths[1]).rekey(
            progress=lambda done, _: os.kill(os.getpid(), 9) if done == 70 else None
        )
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -9
    waiting = key_source.next_key_file(paths[1])
    assert waiting.exists()
    next_key = waiting.read_text()
    with FileSecretProvider(paths[0], key_file=paths[1]) as again:
        assert _picture(again) == before
        assert paths[1].read_text() == key
        again.rekey()
        assert _picture(again) == before
    assert paths[1].read_text() == next_key
    assert not waiting.exists()


def _interrupted_before_the_key_file(paths, monkeypatch):
    with _filled(paths) as provider, monkeypatch.context() as patched:
        before = _picture(provider)
        provider.close()
        patched.setattr(key_source, "replace", _crash)
        with pytest.raises(Crash):
            provider.rekey()
    return before


def test_who_may_not_replace_the_key_file_reads_after_a_crash_all_the_same(
    tmp_path, monkeypatch, make_read_only
):
    keys = tmp_path / "keys"
    keys.mkdir()
    paths = tmp_path / "store", keys / "app.key"
    before = _interrupted_before_the_key_file(paths, monkeypatch)
    make_read_only(keys)
    with FileSecretProvider(paths[0], key_file=paths[1]) as again:
        assert _picture(again) == before
        again.set_secret("key/1", "third")
        assert again.get_secret("key/1") == "third"


def test_a_process_that_replaces_the_key_file_just_before_another_one_hurts_nobody(paths, monkeypatch):
    """A reader that opens the store between the commit and the key file, or two readers after a crash."""

    def twice(waiting, path):
        keyfiles.replace(waiting, path)
        keyfiles.replace(waiting, path)

    before = _interrupted_before_the_key_file(paths, monkeypatch)
    monkeypatch.setattr(key_source, "replace", twice)
    with FileSecretProvider(paths[0], key_file=paths[1]) as again:
        assert _picture(again) == before
        again.rekey()
        assert _picture(again) == before


def test_a_rekey_between_the_header_and_the_key_file_is_no_wrong_key(paths):
    """Whoever opens the store then has read the old header, and reads the new key."""
    with _filled(paths) as provider, FileSecretProvider(paths[0], key_file=paths[1]) as reader:
        candidates, rekeys = reader._source.candidates, iter([provider.rekey])

        def after_a_rekey():
            for rekey in rekeys:
                rekey()
            return candidates()

        reader._source.candidates = after_a_rekey
        assert reader.get_secret("key/1") == "second"


@pytest.mark.parametrize("new", ["a passphrase", format_key(bytes(range(32))), b"x" * 32, "A" * 43 + "="])
def test_a_given_key(paths, new):
    """The key file holds the new key afterwards, whatever kind it is."""
    with _filled(paths) as provider:
        provider.rekey(new)
        assert provider.get_secret("key/1") == "second"
    with FileSecretProvider(paths[0], key_file=paths[1]) as again:
        assert again.get_secret("key/1") == "second"
    with FileSecretProvider(paths[0], new) as given:
        assert given.get_secret("key/1") == "second"
    assert paths[1].stat().st_mode & 0o777 == 0o600


def test_a_key_from_a_file(paths):
    """The new key may come from a file, which is made where it is missing."""
    other = paths[0].with_name("new.key")
    with _filled(paths) as provider:
        provider.rekey(new_key_file=other)
        assert provider.get_secret("key/1") == "second"
    assert other.read_text() == paths[1].read_text()


def test_without_a_key_file(tmp_path):
    """Who gives the key gives the new one too, and uses it from then on."""
    key, new = generate_key(), generate_key()
    with FileSecretProvider(tmp_path / "store", key) as provider:
        provider.set_secret("key", "value")
        with pytest.raises(ConfigurationError):
            provider.rekey()
        provider.rekey(new)
        assert provider.get_secret("key") == "value"
    with FileSecretProvider(tmp_path / "store", new) as provider:
        assert provider.get_secret("key") == "value"
    with FileSecretProvider(tmp_path / "store", key) as provider, pytest.raises(DecryptionError):
        provider.get_secret("key")


def test_what_cannot_be_a_new_key(paths):
    """Two keys, a bad one, one that no key file can hold, or no store at all: an error, and nothing changes."""
    with FileSecretProvider(*paths[:1], key_file=paths[1]) as empty, pytest.raises(ConfigurationError):
        empty.rekey()
    with _filled(paths) as provider:
        before = paths[1].read_text()
        for arguments in (
            {"new_key": "a", "new_key_file": "b"},
            {"new_key": ""},
            {"new_key": "srk1_x"},
            {"new_key": "ends with\r"},
            {"new_key": "two lines\nof something else"},
            {"new_key": "x" * keyfiles.MAX_BYTES},
        ):
            with pytest.raises(ConfigurationError):
                provider.rekey(**arguments)
            assert not list(paths[1].parent.glob("app.key.*"))
        assert provider.get_secret("key/1") == "second"
        assert paths[1].read_text() == before
        provider.rekey("x" * (keyfiles.MAX_BYTES - 1))
    with FileSecretProvider(paths[0], key_file=paths[1]) as again:
        assert again.get_secret("key/1") == "second"


def test_a_damaged_store_keeps_its_key(paths):
    """What cannot be read is not written again."""
    with _filled(paths) as provider:
        provider.close()
        with closing(sqlite3.connect(paths[0])) as connection:
            connection.execute("UPDATE value SET body=zeroblob(40) WHERE id=(SELECT max(id) FROM value)")
            connection.commit()
        before = _bodies(paths[0])
        with pytest.raises(TamperedError):
            provider.rekey()
        assert _bodies(paths[0]) == before
        assert files.check_file(key_source.next_key_file(paths[1])) is None
