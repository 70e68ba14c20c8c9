"""What a registry counts, for telemetry and `serve`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import takewhile
from typing import Any

from strongroom.cache.stats import CacheStats
from strongroom.providers.base import layers
from strongroom.runtime.frozen import frozen

__all__ = ["RegistryFigures", "figures_of"]


@frozen
class RegistryFigures:
    """Counts since a registry was made; never a key or a value.

    Attributes:
        caches: By pipeline, what its caches have counted; pipelines without a cache are left out.
        audit_failures: Operations that an audit hook could not record, whether they were refused or not; and
            how often `diagnose` of a hook found that none could be.
        lease_seconds_left: By pipeline, the seconds until the first of its live leases ends.
    """

    caches: Mapping[str, CacheStats]
    audit_failures: int
    lease_seconds_left: Mapping[str, float]


def figures_of(chains: Mapping[str, Any], hooks: Iterable[Any]) -> RegistryFigures:
    """Return what the caches of pipelines, by name, and hooks have counted until now."""
    counted = {name: stats for name, one in chains.items() if (stats := _cache_stats(one)) is not None}
    failures = _audit_failures({id(hook): hook for hook in hooks}.values())
    left = {name: end for name, one in chains.items() if (end := _lease_seconds_left(one)) is not None}
    return RegistryFigures(counted, failures, left)


def _cache_stats(chain: Any) -> CacheStats | None:
    """Return the sum of what the caches of one pipeline have counted; None where it has no cache.

    The members of a fallback are pipelines of their own, and count for themselves.
    """
    stats = [node.stats() for node in _own(chain) if hasattr(node, "drop") and hasattr(node, "cache")]
    if not stats:
        return None
    return CacheStats(*(sum(getattr(one, name) for one in stats) for name in CacheStats.__match_args__))


def _lease_seconds_left(chain: Any) -> float | None:
    """Return the seconds until the first live lease of one pipeline ends; None where it holds none."""
    for node in _own(chain):
        # By its method, not by its class: that module takes long to load, and most pipelines have no leases.
        seconds_left = getattr(getattr(node, "leases", None), "least_seconds_left", None)
        if callable(seconds_left):
            found: float | None = seconds_left()
            return found
    return None


def _own(chain: Any) -> Iterator[Any]:
    """Return the layers of a pipeline, without the members of a fallback."""
    return takewhile(lambda node: not hasattr(node, "members"), layers(chain))


def _audit_failures(hooks: Iterable[Any]) -> int:
    """Return how often audit hooks could not record an operation."""
    return sum(count for hook in hooks if isinstance(count := getattr(hook, "failures", 0), int))
