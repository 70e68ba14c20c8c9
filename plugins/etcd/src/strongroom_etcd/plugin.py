"""What the entry point `etcd` stands for."""

from __future__ import annotations

from collections.abc import Iterable

from strongroom import Plugin, hookimpl

from strongroom_etcd.config import EtcdConfig

__all__ = ["strongroom_providers"]


@hookimpl
def strongroom_providers() -> Iterable[Plugin]:
    """Return the descriptor of `type: etcd`."""
    yield Plugin(
        name="etcd",
        summary="An etcd cluster; names and values are encrypted before they reach it.",
        config=EtcdConfig,
        factory="strongroom_etcd.provider:EtcdSecretProvider",
    )
