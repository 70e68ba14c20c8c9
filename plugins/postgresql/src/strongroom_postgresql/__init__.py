"""PostgreSQL as a store of secrets: `type: postgresql`."""

from __future__ import annotations

__all__: list[str] = []
