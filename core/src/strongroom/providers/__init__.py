"""What a provider is: its capabilities, the base class, and the guard around a stranger's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom._lazy import lazy_exports

if TYPE_CHECKING:
    from strongroom.providers.protocols import (
        CAPABILITIES,
        BaseProvider,
        BatchReader,
        BatchWriter,
        Closeable,
        ConditionalWriter,
        Describer,
        FullProvider,
        SecretMetadata,
        SecretProvider,
        SecretVersion,
        StagedWriter,
        VersionReader,
        VersionState,
        capabilities,
        capability_methods,
        guard,
        unsupported,
    )

__all__ = [
    "CAPABILITIES",
    "BaseProvider",
    "BatchReader",
    "BatchWriter",
    "Closeable",
    "ConditionalWriter",
    "Describer",
    "FullProvider",
    "SecretMetadata",
    "SecretProvider",
    "SecretVersion",
    "StagedWriter",
    "VersionReader",
    "VersionState",
    "capabilities",
    "capability_methods",
    "guard",
    "unsupported",
]

_HOMES = {
    "BaseProvider": "protocols",
    "BatchReader": "protocols",
    "BatchWriter": "protocols",
    "CAPABILITIES": "protocols",
    "Closeable": "protocols",
    "ConditionalWriter": "protocols",
    "Describer": "protocols",
    "FullProvider": "protocols",
    "SecretMetadata": "protocols",
    "SecretProvider": "protocols",
    "SecretVersion": "protocols",
    "StagedWriter": "protocols",
    "VersionReader": "protocols",
    "VersionState": "protocols",
    "capabilities": "protocols",
    "capability_methods": "protocols",
    "guard": "protocols",
    "unsupported": "protocols",
}

__getattr__, __dir__ = lazy_exports(__name__, _HOMES)
