"""Middleware: what stands between the caller and a provider."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

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


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        message = f"module 'strongroom.middleware' has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(importlib.import_module(f"strongroom.middleware.{_HOMES[name]}"), name)
