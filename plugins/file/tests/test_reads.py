"""Reads that need no transaction: what they refuse, and what they keep."""

from __future__ import annotations

import pytest
from strongroom.encryption.keys import generate_key
from strongroom.errors import InvalidKeyError, SecretNotFoundError
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
                for node in other._session.state.nodes.values():
                    _held(node, found)
                assert len(found) <= 5
                assert len(other._session.state.links) <= 5
            provider.set_secrets(dict(list(VALUES.items())[::3]))
