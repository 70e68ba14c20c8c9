"""What a provider is: its capabilities, the base class, and the guard around a third party's."""

from __future__ import annotations

from strongroom._lazy import lazy_exports

TYPE_CHECKING = False
if TYPE_CHECKING:
    from strongroom.providers.base import (
        BaseProvider,
        capability_methods,
        expect_version,
        innermost,
        unsupported,
    )
    from strongroom.providers.call_hints import (
        may_defer_durability,
        version_is_enough,
    )
    from strongroom.providers.guarding import (
        guard,
        guarded_method,
    )
    from strongroom.providers.metadata import (
        ChangeKind,
        Lease,
        SecretChange,
        SecretMetadata,
        SecretVersion,
        VersionState,
    )
    from strongroom.providers.protocols import (
        CAPABILITIES,
        BatchDescriber,
        BatchReader,
        BatchWriter,
        Closeable,
        ConditionalWriter,
        Describer,
        FullProvider,
        LeaseProvider,
        SecretProvider,
        StagedWriter,
        VersionReader,
        Watchable,
        capabilities,
    )
    from strongroom.providers.subscribers import Subscribers
    from strongroom.providers.version_observers import (
        observing_versions,
        report_version,
    )

__all__ = [
    "CAPABILITIES",
    "BaseProvider",
    "BatchDescriber",
    "BatchReader",
    "BatchWriter",
    "ChangeKind",
    "Closeable",
    "ConditionalWriter",
    "Describer",
    "FullProvider",
    "Lease",
    "LeaseProvider",
    "SecretChange",
    "SecretMetadata",
    "SecretProvider",
    "SecretVersion",
    "StagedWriter",
    "Subscribers",
    "VersionReader",
    "VersionState",
    "Watchable",
    "capabilities",
    "capability_methods",
    "expect_version",
    "guard",
    "guarded_method",
    "innermost",
    "may_defer_durability",
    "observing_versions",
    "report_version",
    "unsupported",
    "version_is_enough",
]

_HOMES = {
    "BaseProvider": "base",
    "BatchDescriber": "protocols",
    "BatchReader": "protocols",
    "BatchWriter": "protocols",
    "CAPABILITIES": "protocols",
    "ChangeKind": "metadata",
    "Closeable": "protocols",
    "ConditionalWriter": "protocols",
    "Describer": "protocols",
    "FullProvider": "protocols",
    "Lease": "metadata",
    "LeaseProvider": "protocols",
    "SecretChange": "metadata",
    "SecretMetadata": "metadata",
    "SecretProvider": "protocols",
    "SecretVersion": "metadata",
    "StagedWriter": "protocols",
    "Subscribers": "subscribers",
    "VersionReader": "protocols",
    "VersionState": "metadata",
    "Watchable": "protocols",
    "capabilities": "protocols",
    "capability_methods": "base",
    "expect_version": "base",
    "guard": "guarding",
    "guarded_method": "guarding",
    "innermost": "base",
    "may_defer_durability": "call_hints",
    "observing_versions": "version_observers",
    "report_version": "version_observers",
    "unsupported": "base",
    "version_is_enough": "call_hints",
}

__getattr__, __dir__ = lazy_exports(__name__, _HOMES)
