"""Which pipeline answers a key."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from strongroom.errors import ConfigurationError, show_key
from strongroom.spec.plan import Plan, RoutePlan

__all__ = ["Routes", "no_default"]


class Routes:
    """Routes by their prefixes, of which no two are alike. They do not change.

    A look-up takes as many steps as the prefixes have lengths, however many routes there are.
    """

    def __init__(self, routes: Iterable[RoutePlan] = ()) -> None:
        self._by_prefix = {route.prefix: route for route in sorted(routes, key=lambda one: -len(one.prefix))}
        self._lengths = tuple(dict.fromkeys(map(len, self._by_prefix)))

    def matching(self, key: str) -> RoutePlan | None:
        """Return the route with the longest prefix that `key` begins with."""
        for length in self._lengths:
            route = self._by_prefix.get(key[:length])
            if route is not None:
                return route
        return None

    def with_one_more(self, route: RoutePlan) -> Routes:
        """Return these routes and another one."""
        return Routes((*self, route))

    def __contains__(self, prefix: str) -> bool:
        return prefix in self._by_prefix

    def __iter__(self) -> Iterator[RoutePlan]:
        """Yield the routes, longest prefix first."""
        return iter(self._by_prefix.values())

    def __len__(self) -> int:
        return len(self._by_prefix)


def no_default(plan: Plan, key: str, pipelines: Sequence[str]) -> ConfigurationError:
    """Return the error for a key that no pipeline answers; for "" that of all keys."""
    if not pipelines:
        return ConfigurationError(
            f"{plan.source} has no pipeline",
            hint="add one under `pipelines:`; `strongroom init` writes a spec",
        )
    unmatched = f"no route matches {show_key(key)}, and " if key else ""
    return ConfigurationError(
        f"{unmatched}{plan.source} has no default pipeline",
        hint=f"add `default:` to the spec, or give --pipeline; there are: {', '.join(pipelines)}",
    )
