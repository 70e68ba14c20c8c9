"""The conformance kits, with which authors of plugins test; every shipped provider passes them.

Importing this package needs nothing; the kits need pytest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom._lazy import lazy_exports

if TYPE_CHECKING:
    from strongroom.testing.cache_stores import CacheStoreConformance
    from strongroom.testing.conformance import ProviderConformance
    from strongroom.testing.middleware import BehindMiddleware, behind, behind_each
    from strongroom.testing.rotators import RotatorConformance
    from strongroom.testing.sampling import sampled

__all__ = [
    "BehindMiddleware",
    "CacheStoreConformance",
    "ProviderConformance",
    "RotatorConformance",
    "behind",
    "behind_each",
    "sampled",
]

_HOMES = {
    "BehindMiddleware": "middleware",
    "CacheStoreConformance": "cache_stores",
    "ProviderConformance": "conformance",
    "RotatorConformance": "rotators",
    "behind": "middleware",
    "behind_each": "middleware",
    "sampled": "sampling",
}


def _rewrite_asserts(home: str) -> None:
    # A failing `assert` of a kit then shows both sides, as one in the author's own tests does.
    import pytest

    pytest.register_assert_rewrite(home)


__getattr__, __dir__ = lazy_exports(__name__, _HOMES, before_import=_rewrite_asserts)
