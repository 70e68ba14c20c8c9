"""The hooks that a plugin implements; see `strongroom.plugins.hookspecs`, where they are defined."""

from __future__ import annotations

from strongroom.plugins.hookspecs import (
    hookimpl,
    hookspec,
    strongroom_encryption,
    strongroom_hooks,
    strongroom_middleware,
    strongroom_providers,
)

__all__ = [
    "hookimpl",
    "hookspec",
    "strongroom_encryption",
    "strongroom_hooks",
    "strongroom_middleware",
    "strongroom_providers",
]
