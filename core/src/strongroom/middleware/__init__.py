"""Middleware: layers between the caller and a provider."""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom._lazy import lazy_exports

if TYPE_CHECKING:
    from strongroom.middleware.base import Middleware
    from strongroom.middleware.caching import CachingMiddleware
    from strongroom.middleware.encryption import EncryptionMiddleware
    from strongroom.middleware.prefix import PrefixMiddleware
    from strongroom.middleware.read_only import ReadOnlyMiddleware
    from strongroom.middleware.retry import RetryMiddleware
    from strongroom.middleware.tenant import TenantMiddleware, TenantSecretProvider
    from strongroom.middleware.validation import ValidationMiddleware

__all__ = [
    "CachingMiddleware",
    "EncryptionMiddleware",
    "Middleware",
    "PrefixMiddleware",
    "ReadOnlyMiddleware",
    "RetryMiddleware",
    "TenantMiddleware",
    "TenantSecretProvider",
    "ValidationMiddleware",
]

_HOMES = {
    "CachingMiddleware": "caching",
    "EncryptionMiddleware": "encryption",
    "Middleware": "base",
    "PrefixMiddleware": "prefix",
    "ReadOnlyMiddleware": "read_only",
    "RetryMiddleware": "retry",
    "TenantMiddleware": "tenant",
    "TenantSecretProvider": "tenant",
    "ValidationMiddleware": "validation",
}

__getattr__, __dir__ = lazy_exports(__name__, _HOMES)
