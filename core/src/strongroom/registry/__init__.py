"""The registry: pipelines assembled from a spec, and the routes to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom._lazy import lazy_exports

if TYPE_CHECKING:
    from strongroom.registry.explanation import (
        Explanation,
    )
    from strongroom.registry.registry import (
        SecretProviderRegistry,
    )

__all__ = [
    "Explanation",
    "SecretProviderRegistry",
]

_HOMES = {
    "Explanation": "explanation",
    "SecretProviderRegistry": "registry",
}

__getattr__, __dir__ = lazy_exports(__name__, _HOMES)
