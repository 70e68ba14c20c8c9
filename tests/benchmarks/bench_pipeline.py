"""A read through an assembled pipeline beside the provider's own."""

from __future__ import annotations

import time
from typing import Any

from strongroom import SecretProviderRegistry
from strongroom.backends import MemorySecretProvider
from timing import medians, row

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
_PIPELINES, _ROUTES = 1_000, 10_000


def rows() -> list[dict[str, Any]]:
    """Return the rows."""
    return [*_middleware(), *_routes()]


def _routes() -> list[dict[str, Any]]:
    """Compare reads and starts with many pipelines and routes with those of one, and of half as many."""

    def spec(pipelines: int, routes: int) -> dict[str, Any]:
        return {
            "version": 1,
            "pipelines": {f"p{number}": {"provider": {"type": "memory"}} for number in range(pipelines)},
            "default": "p0",
            "routes": [
                {"prefix": f"app/{number}/", "pipeline": f"p{number % pipelines}"} for number in range(routes)
            ],
        }

    last = f"app/{_ROUTES - 1}/key"
    halves = spec(_PIPELINES // 2, _ROUTES // 2)
    whole = spec(_PIPELINES, _ROUTES)
    taken = [(_processor_seconds(halves), _processor_seconds(whole)) for _ in range(5)]
    half, start = map(min, zip(*taken, strict=True))
    with SecretProviderRegistry(spec(1, 1)) as few, SecretProviderRegistry(whole) as many:
        few.set_secret("app/0/key", "value")
        many.set_secret(last, "value")
        through, alone = medians(
            400, lambda: many.get_secret(last), lambda: few.get_secret("app/0/key"), times=200
        )
    name = f"{_PIPELINES:,} pipelines and {_ROUTES:,} routes"
    return [
        row(f"read with {name} / with one", through, alone, 1.2, unit="µs"),
        row(f"start with {name} / with half as many", start, half, 2.4),
    ]


def _processor_seconds(spec: dict[str, Any]) -> float:
    started = time.process_time()
    SecretProviderRegistry(spec).close()
    return time.process_time() - started


def _middleware() -> list[dict[str, Any]]:
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
