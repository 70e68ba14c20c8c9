"""Secrets in any store, through a program in any language that speaks JSON-RPC."""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom.plugins import lazy_exports

if TYPE_CHECKING:
    from strongroom_exec.provider import ExecSecretProvider

__all__ = ["ExecSecretProvider"]

__getattr__, __dir__ = lazy_exports(__name__, {"ExecSecretProvider": "provider"})
