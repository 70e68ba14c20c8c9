"""How a key is answered, derived from the plan alone: nothing is assembled, looked up or asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from strongroom.pipeline import check_user_key
from strongroom.registry.routing import Routes, no_default
from strongroom.runtime.frozen import frozen
from strongroom.spec.plan import ComponentPlan, PipelinePlan, Plan, Position, RoutePlan

__all__ = ["Explanation", "explain"]


@frozen
class Explanation:
    """How a key is answered. It has no values, and no backend was asked.

    Attributes:
        key: The key as asked.
        stored_key: The key as the pipeline sees it, after the route.
        pipeline: The pipeline that answers.
        source: Where the pipeline is written, `file:line:column`.
        file: The spec file, or a name for another source.
        line: The line of the pipeline in the file, 0 without a file.
        profile: The profile that was chosen.
        route: The prefix of the route that matched, None for the default pipeline.
        provider: The type name of the provider; None for a fallback.
        middleware: The types of its middleware, outermost first.
        hooks: The types of the hooks that see the operation, in the order they are entered.
        fallback: The explanations of the pipelines that a fallback asks, in order.
    """

    key: str
    stored_key: str
    pipeline: str
    source: str
    file: str
    line: int
    profile: str | None
    route: str | None
    provider: str | None
    middleware: tuple[str, ...]
    hooks: tuple[str, ...]
    fallback: tuple[Explanation, ...] = ()


def explain(
    plan: Plan,
    key: str,
    *,
    routes: Routes,
    default: str | None,
    registered: Mapping[str, str] | None = None,
) -> Explanation:
    """Return how `key` is answered.

    Args:
        plan: The validated spec.
        key: The key as asked.
        routes: The routes; none if one pipeline answers all keys.
        default: The pipeline for keys that no route matches.
        registered: Pipelines made in Python, with the type of their provider.

    Raises:
        InvalidKeyError: The key breaks the rules.
        ConfigurationError: No route matches and there is no default pipeline.
    """
    check_user_key(key)
    registered_names = registered or {}
    route = routes.matching(key)
    name = route.pipeline if route is not None else default
    if name is None:
        raise no_default(plan, key, [*plan.pipelines, *registered_names])
    stored = key[len(route.prefix) :] if route is not None and route.strip_prefix else key
    return _explained(plan, name, key, stored, registered=registered_names, route=route, hooks=plan.hooks)


def _explained(
    plan: Plan,
    name: str,
    key: str,
    stored: str,
    *,
    registered: Mapping[str, str],
    route: RoutePlan | None = None,
    hooks: Iterable[ComponentPlan] = (),
) -> Explanation:
    pipeline = plan.pipelines.get(name)
    if pipeline is None:
        pipeline = PipelinePlan(name, Position("registered in Python"), provider=None, fallback=None)
    provider = pipeline.provider.type if pipeline.provider is not None else registered.get(name)
    members = pipeline.fallback.pipelines if pipeline.fallback is not None else ()
    return Explanation(
        key=key,
        stored_key=stored,
        pipeline=name,
        source=str(pipeline.position),
        file=pipeline.position.file,
        line=pipeline.position.line,
        profile=plan.profile,
        route=route.prefix if route is not None else None,
        provider=provider,
        middleware=tuple(component.type for component in pipeline.middleware),
        hooks=tuple(hook.type for hook in (*hooks, *pipeline.hooks)),
        fallback=tuple(_explained(plan, member, stored, stored, registered=registered) for member in members),
    )
