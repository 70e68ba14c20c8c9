"""A part of a pipeline that cannot be closed leaves nothing behind it open."""

from __future__ import annotations

import pytest
from strongroom import (
    AESGCMEncryption,
    CachingMiddleware,
    EncryptionMiddleware,
    HierarchicalSecretCache,
    KeyRing,
    generate_key,
)
from strongroom.cache import MemoryCacheStore
from strongroom.providers import BaseProvider


class Closing:
    """Notes that it was closed, and fails if told so."""

    def __init__(self, name, closed, *, fails=True):
        self.name, self.closed, self.fails = name, closed, fails

    def close(self):
        self.closed.append(self.name)
        if self.fails:
            raise RuntimeError(self.name)


class Inner(Closing, BaseProvider):
    """The provider of a pipeline."""

    get_secret = set_secret = delete_secret = list_secrets = None


class Cipher(Closing):
    """A cipher that holds a connection."""

    def encrypt(self, plaintext, *, context=b""):
        return plaintext

    def decrypt(self, token, *, context=b""):
        return token


class Store(Closing, MemoryCacheStore):
    """A second level, and the subscription to it."""

    def __init__(self, closed):
        Closing.__init__(self, "store", closed)
        MemoryCacheStore.__init__(self)
        self.subscription = Closing("subscription", closed)

    def subscribe(self, callback):
        return self.subscription


def test_the_provider_is_closed_though_its_cipher_cannot_be():
    closed = []
    provider = EncryptionMiddleware(Inner("inner", closed, fails=False), Cipher("cipher", closed))
    with pytest.raises(RuntimeError, match="cipher"):
        provider.close()
    assert closed == ["cipher", "inner"]


def test_all_ciphers_of_a_key_ring_are_closed_with_their_pipeline():
    closed = []
    ring = KeyRing(Cipher("new", closed), AESGCMEncryption(generate_key()), Cipher("old", closed))
    with pytest.raises(RuntimeError):
        EncryptionMiddleware(Inner("inner", closed, fails=False), ring).close()
    assert sorted(closed) == ["inner", "new", "old"]


def test_the_provider_is_closed_though_the_second_level_cannot_be():
    closed = []
    provider = CachingMiddleware(
        Inner("inner", closed, fails=False), l2=Store(closed), encryption=AESGCMEncryption(generate_key())
    )
    with pytest.raises(RuntimeError, match="store"):
        provider.close()
    assert closed == ["store", "inner"]


def test_a_store_is_closed_though_its_subscription_cannot_be():
    closed = []
    cache = HierarchicalSecretCache(l2=Store(closed), encryption=AESGCMEncryption(generate_key()))
    assert cache.get_or_fetch("k", lambda _: "v") == "v"
    with pytest.raises(RuntimeError):
        cache.close()
    assert closed == ["subscription", "store"]
