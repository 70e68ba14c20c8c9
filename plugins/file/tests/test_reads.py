"""Reads that need no transaction: what they refuse, and what they keep."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from strongroom.encryption.keys import generate_key
from strongroom.errors import InvalidKeyError, SecretNotFoundError, TamperedError
from strongroom_file import FileSecretProvider
from strongroom_file.store import session as session_module

KEY = generate_key()
VALUES = {f"key/{number:04d}": f"of {number}" for number in range(400)}


@pytest.fixture
def provider(tmp_path):
    with FileSecretProvider(tmp_path / "store", KEY) as provider:
        provider.set_secrets(VALUES)
        provider.get_secret("key/0000")
        yield provider


@pytest.fixture(params=[False, True], ids=["looked-up", "kept"])
def kept(request, monkeypatch):
    """Whether a key that was read is kept with its place, or looked up again by the next read."""
    monkeypatch.setattr(session_module, "_KEPT_LINKS", (request.param,))
    return request.param


@pytest.mark.parametrize(
    "key", ["", "/", "key//0001", "key/./0001", "key/0001\0key/0002", "key/\ud800", 7, b"key/0001", []]
)
def test_keys_are_refused_though_the_store_is_open(provider, key):
    """A wrong key is refused as before the first read, also if it is the names of two neighbours."""
    for _ in range(2):
        with pytest.raises((InvalidKeyError, TypeError)):
            provider.get_secret(key)


def test_absent_keys_are_absent(provider):
    """Those are not there that are a part of one, or longer, or before or behind all others."""
    for key in ("key", "key/000", "key/00001", "a", "z", "0001"):
        with pytest.raises(SecretNotFoundError):
            provider.get_secret(key)


def _held(node, found):
    """Add a node to `found`, and all that it keeps."""
    found[id(node)] = node
    for child in [] if node.leaf else node.children:
        if child is not None:
            _held(child, found)


def test_few_nodes_are_kept(provider, tmp_path, monkeypatch):
    """Nodes keep their children, and yet there are never more of them than the limit."""
    monkeypatch.setattr(session_module, "_MAX_NODES", 5)
    monkeypatch.setattr(session_module, "_MAX_LINKS", 5)
    with FileSecretProvider(tmp_path / "store", KEY) as other:
        for _ in range(2):
            for key, value in VALUES.items():
                assert other.get_secret(key) == value
                found = {}
                state = other._session.state
                for node in filter(None, [state.top, *state.nodes.values()]):
                    _held(node, found)
                assert len(found) <= 5
                assert len(other._session.state.links) <= 5
            provider.set_secrets(dict(list(VALUES.items())[::3]))


def test_keys_that_are_read_often_are_kept(provider, tmp_path):
    """They are within a few rounds, and a read of many keys once keeps few of them."""
    few = list(VALUES)[::50]
    with FileSecretProvider(tmp_path / "store", KEY) as other:
        for _ in range(60):
            assert all(other.get_secret(key) == VALUES[key] for key in few)
        links = other._session.state.links
        assert set(few) <= set(links)
        assert all(other.get_secret(key) == value for key, value in VALUES.items())
        assert len(links) < len(VALUES) / 5


def test_writes_of_others_are_read(provider, tmp_path, kept):
    """The next read sees them, whether the key's place was kept or not."""
    with FileSecretProvider(tmp_path / "store", KEY) as other:
        for _ in range(3):
            for key, value in VALUES.items():
                assert other.get_secret(key) == value
        assert ("key/0007" in other._session.state.links) is kept
        provider.set_secret("key/0007", "another")
        assert other.get_secret("key/0007") == "another"
        other.set_secret("key/0007", "a third")
        assert (provider.get_secret("key/0007"), other.get_secret("key/0007")) == ("a third", "a third")
        provider.delete_secret("key/0007")
        for _ in range(2):
            with pytest.raises(SecretNotFoundError):
                other.get_secret("key/0007")
        assert other.get_secret("key/0008") == VALUES["key/0008"]


@pytest.mark.parametrize(
    "edit",
    [
        "DELETE FROM value",
        "DELETE FROM root",
        "UPDATE root SET body=zeroblob(length(body))",
        "UPDATE root SET body=x''",
        "UPDATE value SET body=zeroblob(length(body))",
        "UPDATE value SET body=CAST(substr(body, 1, 12) || zeroblob(length(body) - 28) || substr(body, -16) AS BLOB)",
        "UPDATE value SET body=(SELECT body FROM value AS other WHERE other.id > value.id) WHERE id < 50",
    ],
)
def test_an_edit_is_seen_by_each_read(provider, tmp_path, kept, edit):
    """No read returns a value that was changed, nor one of a store whose root was changed."""
    keys = list(VALUES)[:40]
    with FileSecretProvider(tmp_path / "store", KEY) as other:
        for _ in range(3):
            assert all(other.get_secret(key) == VALUES[key] for key in keys)
        with closing(sqlite3.connect(tmp_path / "store")) as connection:
            connection.execute(edit)
            connection.commit()
        for key in keys:
            with pytest.raises(TamperedError):
                other.get_secret(key)


def test_an_older_version_in_the_place_of_a_newer_is_seen(provider, tmp_path, kept):
    """It opens under its own row only: another row of the same key is not taken for it."""
    for number in range(3):
        provider.set_secret("key/0007", f"version {number}")
    with FileSecretProvider(tmp_path / "store", KEY) as other:
        assert other.get_secret("key/0007") == other.get_secret("key/0007") == "version 2"
        with closing(sqlite3.connect(tmp_path / "store")) as connection:
            connection.execute(
                "UPDATE value SET body=(SELECT body FROM value WHERE id=(SELECT max(id) - 1 FROM value))"
                " WHERE id=(SELECT max(id) FROM value)"
            )
            connection.commit()
        with pytest.raises(TamperedError):
            other.get_secret("key/0007")


def test_another_value_of_the_same_row_is_seen(tmp_path, kept):
    """A store that was put back gives the id of a row out once more. Only the value that its links lead to is read."""
    store = tmp_path / "store"
    with FileSecretProvider(store, KEY) as provider:
        provider.set_secret("key", "before")
    before = store.read_bytes()
    last = "SELECT id, body FROM value ORDER BY id DESC"
    with FileSecretProvider(store, KEY) as provider:
        provider.set_secret("key", "first")
        with closing(sqlite3.connect(store)) as connection:
            row, body = connection.execute(last).fetchone()
    store.write_bytes(before)
    with FileSecretProvider(store, KEY) as provider:
        provider.set_secret("key", "second")
        assert provider.get_secret("key") == provider.get_secret("key") == "second"
        with closing(sqlite3.connect(store)) as connection:
            assert connection.execute(last).fetchone()[0] == row
            connection.execute("UPDATE value SET body=? WHERE id=?", (body, row))
            connection.commit()
        with pytest.raises(TamperedError):
            provider.get_secret("key")
