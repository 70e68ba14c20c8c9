"""Redis or Valkey as the cache that processes share: `l2: {type: redis}`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from strongroom_redis.store import RedisCacheStore

__all__ = ["RedisCacheStore"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from strongroom_redis.store import RedisCacheStore

        return RedisCacheStore
    message = f"module 'strongroom_redis' has no attribute {name!r}"
    raise AttributeError(message)
