"""Temporary files that killed processes have left: removed by the next command that makes one, or a new key."""

from __future__ import annotations

import os

import pytest
from strongroom.cache import HierarchicalSecretCache
from strongroom.encryption import AESGCMEncryption
from strongroom.encryption.keys import generate_key
from strongroom_file import FileCacheStore, FileSecretProvider

KEY = generate_key()
OURS = ".store.0123456789abcdef.tmp"
OTHERS = (".other.0123456789abcdef.tmp", ".store.0123456789abcdeg.tmp", ".store.tmp", "store.old")
LONG_AGO = (0, 0)


@pytest.fixture
def left(tmp_path):
    """The temporary files of a process that was killed long ago, of one at work, and files of other names."""
    for name in (OURS, f"{OURS}-journal", f"{OURS}-wal", *OTHERS):
        (tmp_path / name).write_bytes(b"sealed")
        os.utime(tmp_path / name, LONG_AGO)
    (tmp_path / ".store.fedcba9876543210.tmp").write_bytes(b"sealed just now")
    (tmp_path / ".store.aaaaaaaaaaaaaaaa.tmp").mkdir()
    return {*OTHERS, ".store.fedcba9876543210.tmp", ".store.aaaaaaaaaaaaaaaa.tmp"}


def hidden(folder):
    return {name for name in os.listdir(folder) if name.startswith(".") or name == "store.old"}


def test_the_next_store_removes_them(left, tmp_path):
    with FileSecretProvider(tmp_path / "store", KEY) as provider:
        provider.set_secret("key", "value")
    assert hidden(tmp_path) == left


@pytest.mark.parametrize("call", ["backup of it", "backup there", "restore", "rekey"])
def test_so_does_what_works_on_all_of_one(tmp_path, call, request):
    store = tmp_path / ("store" if call != "backup there" else "elsewhere")
    target = tmp_path / ("store" if call == "backup there" else "elsewhere")
    with FileSecretProvider(store, KEY) as provider:
        provider.set_secret("key", "value")
        if call == "restore":
            provider.backup(target)
        left = request.getfixturevalue("left")
        if call == "rekey":
            provider.rekey(generate_key())
        elif call == "restore":
            provider.restore(target)
        else:
            provider.backup(target)
        assert provider.get_secret("key") == "value"
    assert hidden(tmp_path) == left


def test_so_does_a_second_level_of_a_cache(left, tmp_path):
    store = FileCacheStore(tmp_path / "store")
    cache = HierarchicalSecretCache(l2=store, encryption=AESGCMEncryption(KEY))
    assert cache.get_or_fetch("key", lambda _: "value") == "value"
    cache.close()
    assert hidden(tmp_path) == left
