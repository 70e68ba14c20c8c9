"""A read through an assembled pipeline beside the provider's own."""

from __future__ import annotations

from typing import Any

from strongroom import SecretProviderRegistry
from strongroom.backends import MemorySecretProvider
from timing import medians

SPEC = {
    "version": 1,
    "pipelines": {
        "app": {
            "provider": {"type": "memory"},
            "middleware": [
                {"type": "retry"},
                {"type": "validation", "max_length": 4096},
                {"type": "prefix", "prefix": "p/"},
            ],
        }
    },
}
_BUDGET_MICROSECONDS = 2.0


def rows() -> list[dict[str, Any]]:
    """Return what three plain middlewares add to a read, as a share of two microseconds."""
    bare = MemorySecretProvider()
    bare.set_secret("p/a/key", "value")
    with SecretProviderRegistry(SPEC) as registry:
        registry.set_secret("a/key", "value")
        pipeline = registry.pipeline("app")
        through, own = medians(
            400, lambda: pipeline.get_secret("a/key"), lambda: bare.get_secret("p/a/key"), times=200
        )
    added = (through - own) * 1e6
    return [
        {
            "name": "added by retry, validation and prefix / 2 µs",
            "ratio": added / _BUDGET_MICROSECONDS,
            "limit": 1.0,
            "detail": f"{through * 1e6:.2f} µs against {own * 1e6:.2f} µs",
        }
    ]
