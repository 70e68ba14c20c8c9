"""What a provider is: its capabilities, the base class, and the guard around a stranger's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom._lazy import lazy_exports

if TYPE_CHECKING:
    from strongroom.providers.base import (
        BaseProvider,
        unsupported,
    )
    from strongroom.providers.guard import (
        guard,
    )
    from strongroom.providers.metadata import (
        SecretMetadata,
        SecretVersion,
        VersionState,
    )
    from strongroom.providers.protocols import (
        CAPABILITIES,
        BatchReader,
        BatchWriter,
        Closeable,
        ConditionalWriter,
        Describer,
        FullProvider,
        SecretProvider,
        StagedWriter,
        VersionReader,
        capabilities,
        capability_methods,
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
    "BaseProvider": "base",
    "BatchReader": "protocols",
    "BatchWriter": "protocols",
    "CAPABILITIES": "protocols",
    "Closeable": "protocols",
    "ConditionalWriter": "protocols",
    "Describer": "protocols",
    "FullProvider": "protocols",
    "SecretMetadata": "metadata",
    "SecretProvider": "protocols",
    "SecretVersion": "metadata",
    "StagedWriter": "protocols",
    "VersionReader": "protocols",
    "VersionState": "metadata",
    "capabilities": "protocols",
    "capability_methods": "protocols",
    "guard": "guard",
    "unsupported": "base",
}

__getattr__, __dir__ = lazy_exports(__name__, _HOMES)
