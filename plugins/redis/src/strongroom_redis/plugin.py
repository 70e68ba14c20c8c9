"""What the entry point `redis` stands for."""

from __future__ import annotations

from collections.abc import Iterable

from strongroom import hookimpl
from strongroom.plugins import CachePlugin, Plugin

from strongroom_redis.config import RedisCacheConfig


@hookimpl
def strongroom_middleware() -> Iterable[Plugin]:
    return [
        CachePlugin(
            name="redis",
            summary="Redis or Valkey as the cache that processes share.",
            config=RedisCacheConfig,
            factory="strongroom_redis.store:RedisCacheStore",
        )
    ]
