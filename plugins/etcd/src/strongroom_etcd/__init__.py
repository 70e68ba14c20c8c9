"""etcd as a store of secrets: `type: etcd`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom.plugins import lazy_exports

if TYPE_CHECKING:
    from strongroom_etcd.provider import EtcdSecretProvider

__all__ = ["EtcdSecretProvider"]

__getattr__, __dir__ = lazy_exports(__name__, {"EtcdSecretProvider": "provider"})
