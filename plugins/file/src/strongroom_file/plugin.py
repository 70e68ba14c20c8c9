"""What the entry point `file` stands for."""

from __future__ import annotations

from collections.abc import Iterable

from strongroom import Plugin, hookimpl
from strongroom.plugins import CachePlugin

from strongroom_file.config import FileCacheConfig, FileConfig

__all__ = ["strongroom_middleware", "strongroom_providers"]


@hookimpl
def strongroom_providers() -> Iterable[Plugin]:
    """Return the descriptor of `type: file`."""
    yield Plugin(
        name="file",
        summary="Secrets in one encrypted file: the embedded store.",
        config=FileConfig,
        factory="strongroom_file.provider:FileSecretProvider",
    )


@hookimpl
def strongroom_middleware() -> Iterable[Plugin]:
    """Return the descriptor of `l2: {type: file.cache}`."""
    yield CachePlugin(
        name="file.cache",
        summary="A file as the cache that the processes of one machine share.",
        config=FileCacheConfig,
        factory="strongroom_file.cache:FileCacheStore",
    )
