"""Caches that shield the backend: in the process, and behind it in a store that processes share."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from strongroom.cache.hierarchical import HierarchicalSecretCache
    from strongroom.cache.memory import SecretCache
    from strongroom.cache.memory_store import MemoryCacheStore
    from strongroom.cache.stats import CacheStats
    from strongroom.cache.store import CacheStore, FencedStore, Subscription, WatchableStore

__all__ = [
    "CacheStats",
    "CacheStore",
    "FencedStore",
    "HierarchicalSecretCache",
    "MemoryCacheStore",
    "SecretCache",
    "Subscription",
    "WatchableStore",
]

_HOMES = {
    "CacheStats": "stats",
    "CacheStore": "store",
    "FencedStore": "store",
    "HierarchicalSecretCache": "hierarchical",
    "MemoryCacheStore": "memory_store",
    "SecretCache": "memory",
    "Subscription": "store",
    "WatchableStore": "store",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    value = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    globals()[name] = value  # the next access does not come here
    return value


def __dir__() -> list[str]:
    return __all__
