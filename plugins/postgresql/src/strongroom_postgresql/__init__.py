"""PostgreSQL as a store of secrets: `type: postgresql`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom.plugins import lazy_exports

if TYPE_CHECKING:
    from strongroom_postgresql.provider import PostgreSQLSecretProvider

__all__ = ["PostgreSQLSecretProvider"]

__getattr__, __dir__ = lazy_exports(__name__, {"PostgreSQLSecretProvider": "provider"})
