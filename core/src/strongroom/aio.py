"""The registry for asyncio: what is remembered is answered at once, what is not never blocks the loop."""

from __future__ import annotations

from strongroom.registry.async_registry import AsyncSecretRegistry

__all__ = ["AsyncSecretRegistry"]
