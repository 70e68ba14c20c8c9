"""Caches that shield the backend: in the process, and behind it in a store that processes share."""

from __future__ import annotations

from strongroom.cache.store import CacheStore, FencedStore, Subscription, WatchableStore

__all__ = ["CacheStore", "FencedStore", "Subscription", "WatchableStore"]
