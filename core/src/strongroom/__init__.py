"""Secret management: one small YAML file assembles the pipeline you need from plugins.

Names are loaded at first use: importing `strongroom` loads no SDK, no plugin and no database. The classes of
our own plugins can be imported from here, too; see `strongroom.backends`.
"""

from __future__ import annotations

import atexit
import importlib
import sys

from strongroom._lazy import lazy_exports

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from strongroom._version import __version__ as __version__
    from strongroom.audit import AuditLoggingHook, AuditReport, verify_audit_log
    from strongroom.cache import CacheStats, CacheStore, HierarchicalSecretCache, SecretCache
    from strongroom.declarations.resolution import ResolvedSecrets
    from strongroom.encryption import (
        AESGCMEncryption,
        ChaCha20Encryption,
        Encryption,
        FernetEncryption,
        KeyRing,
        generate_key,
    )
    from strongroom.errors import (
        AuditError,
        AuthenticationError,
        BackendUnavailableError,
        ConfigurationError,
        ConflictError,
        DecryptionError,
        EncryptionError,
        InvalidKeyError,
        InvalidTenantError,
        PermissionDeniedError,
        PluginError,
        ReadOnlyError,
        RotationError,
        SecretNotFoundError,
        SecretTooLargeError,
        SpecError,
        StrongroomError,
        TamperedError,
        TenantContextError,
        ThrottledError,
        UnsupportedOperationError,
        UntrustedSpecError,
        ValidationError,
    )
    from strongroom.generators import generate_password
    from strongroom.hooks import SecretEvent, SecretHook
    from strongroom.hookspecs import hookimpl
    from strongroom.middleware import (
        CachingMiddleware,
        EncryptionMiddleware,
        PrefixMiddleware,
        ReadOnlyMiddleware,
        RetryMiddleware,
        TenantMiddleware,
        TenantSecretProvider,
        ValidationMiddleware,
    )
    from strongroom.plugins import Plugin
    from strongroom.providers import (
        BaseProvider,
        BatchDescriber,
        BatchReader,
        BatchWriter,
        Closeable,
        ConditionalWriter,
        Describer,
        Lease,
        LeaseProvider,
        SecretChange,
        SecretMetadata,
        SecretProvider,
        SecretVersion,
        StagedWriter,
        VersionReader,
        Watchable,
    )
    from strongroom.registry import Explanation, SecretProviderRegistry
    from strongroom.registry.leases import LiveLease
    from strongroom.registry.watch import Watch
    from strongroom.rotation import RotationResult, RotationStatus, SecretRotation
    from strongroom.spec import Spec
    from strongroom.tenancy import TenantContext, current_tenant


_HOMES = {
    "audit": ("AuditLoggingHook", "AuditReport", "verify_audit_log"),
    "cache": ("CacheStats", "CacheStore", "HierarchicalSecretCache", "SecretCache"),
    "encryption": (
        "AESGCMEncryption",
        "ChaCha20Encryption",
        "Encryption",
        "FernetEncryption",
        "KeyRing",
        "generate_key",
    ),
    "middleware": (
        "CachingMiddleware",
        "EncryptionMiddleware",
        "PrefixMiddleware",
        "ReadOnlyMiddleware",
        "RetryMiddleware",
        "TenantMiddleware",
        "TenantSecretProvider",
        "ValidationMiddleware",
    ),
    "errors": (
        "AuditError",
        "AuthenticationError",
        "BackendUnavailableError",
        "ConfigurationError",
        "ConflictError",
        "DecryptionError",
        "EncryptionError",
        "InvalidKeyError",
        "InvalidTenantError",
        "PermissionDeniedError",
        "PluginError",
        "ReadOnlyError",
        "RotationError",
        "SecretNotFoundError",
        "SecretTooLargeError",
        "SpecError",
        "StrongroomError",
        "TamperedError",
        "TenantContextError",
        "ThrottledError",
        "UnsupportedOperationError",
        "UntrustedSpecError",
        "ValidationError",
    ),
    "hooks": ("SecretEvent", "SecretHook"),
    "hookspecs": ("hookimpl",),
    "generators": ("generate_password",),
    "plugins": ("Plugin",),
    "providers": (
        "BaseProvider",
        "BatchDescriber",
        "BatchReader",
        "BatchWriter",
        "Closeable",
        "ConditionalWriter",
        "Describer",
        "Lease",
        "LeaseProvider",
        "SecretChange",
        "SecretMetadata",
        "SecretProvider",
        "SecretVersion",
        "StagedWriter",
        "VersionReader",
        "Watchable",
    ),
    "registry": ("Explanation", "SecretProviderRegistry"),
    "registry.leases": ("LiveLease",),
    "registry.watch": ("Watch",),
    "declarations.resolution": ("ResolvedSecrets",),
    "rotation": ("RotationResult", "RotationStatus", "SecretRotation"),
    "spec": ("Spec",),
    "tenancy": ("TenantContext", "current_tenant"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "AESGCMEncryption",
    "AuditError",
    "AuditLoggingHook",
    "AuditReport",
    "AuthenticationError",
    "BackendUnavailableError",
    "BaseProvider",
    "BatchDescriber",
    "BatchReader",
    "BatchWriter",
    "CacheStats",
    "CacheStore",
    "CachingMiddleware",
    "ChaCha20Encryption",
    "Closeable",
    "ConditionalWriter",
    "ConfigurationError",
    "ConflictError",
    "DecryptionError",
    "Describer",
    "Encryption",
    "EncryptionError",
    "EncryptionMiddleware",
    "Explanation",
    "FernetEncryption",
    "HierarchicalSecretCache",
    "InvalidKeyError",
    "InvalidTenantError",
    "KeyRing",
    "Lease",
    "LeaseProvider",
    "LiveLease",
    "PermissionDeniedError",
    "Plugin",
    "PluginError",
    "PrefixMiddleware",
    "ReadOnlyError",
    "ReadOnlyMiddleware",
    "ResolvedSecrets",
    "RetryMiddleware",
    "RotationError",
    "RotationResult",
    "RotationStatus",
    "SecretCache",
    "SecretChange",
    "SecretEvent",
    "SecretHook",
    "SecretMetadata",
    "SecretNotFoundError",
    "SecretProvider",
    "SecretProviderRegistry",
    "SecretRotation",
    "SecretTooLargeError",
    "SecretVersion",
    "Spec",
    "SpecError",
    "StagedWriter",
    "StrongroomError",
    "TamperedError",
    "TenantContext",
    "TenantContextError",
    "TenantMiddleware",
    "TenantSecretProvider",
    "ThrottledError",
    "UnsupportedOperationError",
    "UntrustedSpecError",
    "ValidationError",
    "ValidationMiddleware",
    "VersionReader",
    "Watch",
    "Watchable",
    "current_tenant",
    "generate_key",
    "generate_password",
    "hookimpl",
    "verify_audit_log",
]


_SUBMODULES = frozenset({
    "audit", "backends", "cache", "encryption", "errors",
    "hookspecs", "middleware", "rotation", "spec", "testing",
})  # fmt: skip


_find, _ = lazy_exports(__name__, {**_HOME_OF, "__version__": "_version"})


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return importlib.import_module(f"strongroom.{name}")
    if name not in _HOME_OF and not name.startswith("_"):
        from strongroom.plugins.known import KNOWN_CLASSES

        if name in KNOWN_CLASSES:
            return getattr(importlib.import_module("strongroom.backends"), name)
    return _find(name)


def __dir__() -> list[str]:
    return [*__all__, "__version__", *sorted(_SUBMODULES)]


def _end() -> None:
    leases: Any = sys.modules.get("strongroom.leases.process_end")
    if leases is not None:
        leases.revoke_for_good()


# As early as possible, since such functions run in reverse: those that a program registers may read leases.
atexit.register(_end)
