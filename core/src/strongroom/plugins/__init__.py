"""Plugins: their descriptors, the hooks they implement, and how they are found."""

from __future__ import annotations

from strongroom._lazy import lazy_exports
from strongroom.runtime.digests import blake2b, compare_digest, hmac_sha256, sha256
from strongroom.runtime.frozen import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from strongroom.plugins.allowed import is_shut_out
    from strongroom.plugins.commands import command_of
    from strongroom.plugins.descriptors import (
        GROUP,
        KINDS,
        CachePlugin,
        Kind,
        Plugin,
        RotatorPlugin,
    )
    from strongroom.plugins.discovery import (
        ComponentInfo,
        PluginFinder,
        UnknownTypeError,
        finder,
    )
    from strongroom.plugins.suggestions import (
        did_you_mean,
        nearest,
    )

__all__ = [
    "GROUP",
    "KINDS",
    "CachePlugin",
    "ComponentInfo",
    "Kind",
    "NamedTuple",
    "Plugin",
    "PluginFinder",
    "RotatorPlugin",
    "UnknownTypeError",
    "blake2b",
    "command_of",
    "compare_digest",
    "did_you_mean",
    "finder",
    "hmac_sha256",
    "is_shut_out",
    "lazy_exports",
    "nearest",
    "sha256",
]

_HOMES = {
    "CachePlugin": "descriptors",
    "GROUP": "descriptors",
    "KINDS": "descriptors",
    "Kind": "descriptors",
    "ComponentInfo": "discovery",
    "Plugin": "descriptors",
    "PluginFinder": "discovery",
    "RotatorPlugin": "descriptors",
    "UnknownTypeError": "discovery",
    "command_of": "commands",
    "did_you_mean": "suggestions",
    "finder": "discovery",
    "is_shut_out": "allowed",
    "nearest": "suggestions",
}

__getattr__, __dir__ = lazy_exports(__name__, _HOMES)
