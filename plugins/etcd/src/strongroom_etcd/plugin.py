"""What the entry point `etcd` stands for."""

from __future__ import annotations

from collections.abc import Iterable

from strongroom import Plugin, hookimpl
from strongroom.plugins import RotatorPlugin

from strongroom_etcd.config import EtcdConfig
from strongroom_etcd.rotator_config import EtcdRotatorConfig

__all__ = ["strongroom_providers"]


@hookimpl
def strongroom_providers() -> Iterable[Plugin]:
    """Give the descriptors of `type: etcd`, a provider and a rotator."""
    yield Plugin(
        name="etcd",
        summary="An etcd cluster; names and values are sealed before they reach it.",
        config=EtcdConfig,
        factory="strongroom_etcd.provider:EtcdSecretProvider",
    )
    yield RotatorPlugin(
        name="etcd",
        summary="The password of a role of Etcd, or of two that take turns.",
        config=EtcdRotatorConfig,
        factory="strongroom_etcd.rotator:EtcdRotator",
    )
