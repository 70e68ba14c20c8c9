"""`strongroom explain`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from strongroom.cli import completions, output
from strongroom.cli.app import command

if TYPE_CHECKING:
    from strongroom.cli.context import Settings
    from strongroom.registry import Explanation


@command("explain")
@click.argument("key", shell_complete=completions.keys)
def explain_command(settings: Settings, key: str) -> None:
    """Show which pipeline answers KEY and what a read passes on its way; no backend is asked.

    Example: strongroom explain database/password
    """
    from strongroom.registry.explanation import explain
    from strongroom.registry.routing import by_length

    plan = settings.plan()
    explanation = explain(
        plan,
        key,
        routes=by_length(plan.routes) if settings.pipeline is None else (),
        default=settings.pipeline or plan.default,
    )
    if settings.json:
        output.as_json(_as_data(explanation))
    else:
        output.lines(_path(explanation))


def _as_data(explanation: Explanation) -> dict[str, Any]:
    import dataclasses

    return dataclasses.asdict(explanation)


def _path(explanation: Explanation, indent: str = "") -> list[str]:
    route = f"route {explanation.route!r}" if explanation.route is not None else "the default pipeline"
    told = [
        f"{indent}key         {explanation.key}",
        f"{indent}route       {route}",
        f"{indent}pipeline    {explanation.pipeline}  ({explanation.source})",
    ]
    if indent:  # a member of a fallback has no route of its own
        told = [f"{indent}pipeline    {explanation.pipeline}  ({explanation.source})"]
    elif explanation.profile is not None:
        told.append(f"profile     {explanation.profile}")
    if explanation.hooks:
        told.append(f"{indent}hooks       {' -> '.join(explanation.hooks)}")
    if explanation.middleware:
        told.append(f"{indent}middleware  {' -> '.join(explanation.middleware)}")
    if explanation.provider is not None:
        told.append(f"{indent}provider    {explanation.provider}")
    if explanation.stored_key != explanation.key:
        told.append(f"{indent}stored as   {explanation.stored_key}")
    for member in explanation.fallback:
        told += [f"{indent}falls to", *_path(member, indent + "  ")]
    return told
