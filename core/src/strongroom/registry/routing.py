"""Which pipeline answers a key."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from strongroom.errors import ConfigurationError
from strongroom.spec.plan import Plan, RoutePlan

__all__ = ["longest_first", "no_default"]


def longest_first(routes: Iterable[RoutePlan]) -> tuple[RoutePlan, ...]:
    """Return routes with the longest prefix first, so that the first that matches is the one."""
    return tuple(sorted(routes, key=lambda route: -len(route.prefix)))


def no_default(plan: Plan, key: str, pipelines: Sequence[str]) -> ConfigurationError:
    """Return the error for a key that no pipeline answers."""
    return ConfigurationError(
        f"no route matches {key!r}, and {plan.source} has no default pipeline",
        hint=f"add `default:` to the spec; there are: {', '.join(pipelines) or 'no pipelines'}",
    )
