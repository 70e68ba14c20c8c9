"""What the entry point `redis` stands for."""

from __future__ import annotations

from collections.abc import Iterable

from strongroom import hookimpl
from strongroom.plugins import CachePlugin, Plugin, RotatorPlugin

from strongroom_redis.config import RedisCacheConfig, RedisRotatorConfig


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


@hookimpl
def strongroom_providers() -> Iterable[Plugin]:
    return [
        RotatorPlugin(
            name="redis",
            summary="The password of an ACL user of Redis or Valkey; the old one works for the grace period.",
            config=RedisRotatorConfig,
            factory="strongroom_redis.rotator:RedisRotator",
        )
    ]
