"""Caches in front of the backend: in the process, and behind that in a store that processes share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom._lazy import lazy_exports

if TYPE_CHECKING:
    from strongroom.cache.hierarchical import HierarchicalSecretCache
    from strongroom.cache.memory_store import MemoryCacheStore
    from strongroom.cache.secret_cache import SecretCache
    from strongroom.cache.stats import CacheStats
    from strongroom.cache.store import CacheStore, FencedStore, Subscription, TimedStore, WatchableStore

__all__ = [
    "CacheStats",
    "CacheStore",
    "FencedStore",
    "HierarchicalSecretCache",
    "MemoryCacheStore",
    "SecretCache",
    "Subscription",
    "TimedStore",
    "WatchableStore",
]

_HOMES = {
    "CacheStats": "stats",
    "CacheStore": "store",
    "FencedStore": "store",
    "HierarchicalSecretCache": "hierarchical",
    "MemoryCacheStore": "memory_store",
    "SecretCache": "secret_cache",
    "Subscription": "store",
    "TimedStore": "store",
    "WatchableStore": "store",
}

__getattr__, __dir__ = lazy_exports(__name__, _HOMES)
