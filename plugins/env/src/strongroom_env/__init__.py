"""Secrets in environment variables, for development and containers."""

from __future__ import annotations

from strongroom.plugins import lazy_exports

TYPE_CHECKING = False
if TYPE_CHECKING:
    from strongroom_env.provider import EnvSecretProvider

__all__ = ["EnvSecretProvider"]

__getattr__, __dir__ = lazy_exports(__name__, {"EnvSecretProvider": "provider"})
