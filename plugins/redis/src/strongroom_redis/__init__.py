"""Redis or Valkey as the cache that processes share: `l2: {type: redis}`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom.plugins import lazy_exports

if TYPE_CHECKING:
    from strongroom_redis.store import RedisCacheStore

__all__ = ["RedisCacheStore"]

__getattr__, __dir__ = lazy_exports(__name__, {"RedisCacheStore": "store"})
