"""The kit for stores, on a real server: alone, and as the store that a cache has behind itself."""

from __future__ import annotations

import secrets

import pytest
from strongroom.cache import HierarchicalSecretCache
from strongroom.encryption import AESGCMEncryption, generate_key
from strongroom.middleware import CachingMiddleware
from strongroom.testing import CacheStoreConformance, ProviderConformance, sampled
from strongroom_memory import MemorySecretProvider
from strongroom_redis import RedisCacheStore


class TestRedisCacheStore(CacheStoreConformance):
    @pytest.fixture
    def store(self, server):
        with RedisCacheStore(server.url, timeout_seconds=10) as store:
            yield store

    @pytest.fixture
    def reopened(self, server, store):
        with RedisCacheStore(server.url, timeout_seconds=10) as other:
            yield other


@sampled(pytest.mark.torture, one_in=4)
class TestRedisCacheStoreOnTheOldestRedis(CacheStoreConformance):
    @pytest.fixture
    def store(self, oldest):
        with RedisCacheStore(f"{oldest.url}?protocol=2", timeout_seconds=10) as store:
            yield store

    @pytest.fixture
    def reopened(self, oldest, store):
        with RedisCacheStore(f"{oldest.url}?protocol=3", timeout_seconds=10) as other:
            yield other


@sampled(pytest.mark.torture, one_in=4)
class TestMemoryBehindACacheOnRedis(ProviderConformance):
    title = "memory, behind a cache on Redis"
    provider_class = MemorySecretProvider
    listed_keys = 30  # it knows no pages

    @pytest.fixture
    def provider(self, server):
        provider = CachingMiddleware(
            MemorySecretProvider(),
            l2=RedisCacheStore(server.url),
            namespace=secrets.token_hex(4),
            encryption=AESGCMEncryption(generate_key()),
            l2_timeout_seconds=10,
        )
        yield provider
        provider.close()


def test_two_caches_share_it(server):
    key, calls = generate_key(), []

    def fetch(name):
        calls.append(name)
        return "value"

    for _ in range(2):
        cache = HierarchicalSecretCache(
            l2=RedisCacheStore(server.url), encryption=AESGCMEncryption(key), l2_timeout_seconds=10
        )
        assert cache.get_or_fetch("key", fetch) == "value"
        cache.close()
    assert calls == ["key"]
