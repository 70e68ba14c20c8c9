"""The registry for asyncio: it answers remembered values at once, and never blocks the loop."""

from __future__ import annotations

from strongroom.registry.async_registry import AsyncSecretRegistry

__all__ = ["AsyncSecretRegistry"]
