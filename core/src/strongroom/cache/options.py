"""The options that every cache has: one in the process, one with a second level, and one in a pipeline.

`SecretCache` says what they mean, and checks them. `HierarchicalSecretCache` and `CachingMiddleware` have the
same, with the same defaults, and hand them on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypedDict

__all__ = ["CacheOptions"]


class CacheOptions(TypedDict):
    """The keyword arguments of `SecretCache`."""

    max_entries: int
    negative_ttl_seconds: float
    stale_if_error_seconds: float
    refresh_ahead: float
    jitter: float
    fetch_timeout_seconds: float | None
    clock: Callable[[], float]
