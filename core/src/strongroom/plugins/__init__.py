"""Plugins: their descriptors, the hooks they implement, and how they are found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom._lazy import lazy_exports

if TYPE_CHECKING:
    from strongroom.plugins.discovery import (
        GROUP,
        KINDS,
        CachePlugin,
        Kind,
        ListedPlugin,
        Plugin,
        PluginFinder,
        UnknownTypeError,
        did_you_mean,
        finder,
        nearest,
    )

__all__ = [
    "GROUP",
    "KINDS",
    "CachePlugin",
    "Kind",
    "ListedPlugin",
    "Plugin",
    "PluginFinder",
    "UnknownTypeError",
    "did_you_mean",
    "finder",
    "lazy_exports",
    "nearest",
]

_HOMES = {
    "CachePlugin": "discovery",
    "GROUP": "discovery",
    "KINDS": "discovery",
    "Kind": "discovery",
    "ListedPlugin": "discovery",
    "Plugin": "discovery",
    "PluginFinder": "discovery",
    "UnknownTypeError": "discovery",
    "did_you_mean": "discovery",
    "finder": "discovery",
    "nearest": "discovery",
}

__getattr__, __dir__ = lazy_exports(__name__, _HOMES)
