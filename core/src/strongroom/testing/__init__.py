"""What authors of plugins test with: the conformance kit that every shipped provider passes.

Importing this package needs nothing; the kits need pytest.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from strongroom.testing.cache_stores import CacheStoreConformance
    from strongroom.testing.conformance import ProviderConformance
    from strongroom.testing.middleware import behind, behind_each

__all__ = ["CacheStoreConformance", "ProviderConformance", "behind", "behind_each"]

_HOMES = {
    "CacheStoreConformance": "cache_stores",
    "ProviderConformance": "conformance",
    "behind": "middleware",
    "behind_each": "middleware",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    home = f"{__name__}.{_HOMES[name]}"
    if home not in sys.modules:
        import pytest

        # A failing `assert` of a kit then shows both sides, as one in the author's own tests does.
        pytest.register_assert_rewrite(home)
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return list(__all__)
