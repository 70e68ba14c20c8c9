"""`strongroom explain`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from strongroom.cli import completions, output
from strongroom.cli.app import command
from strongroom.cli.context import refuse_useless_tenant
from strongroom.cli.declared.names import declared_by_other_key
from strongroom.cli.declared.rotations import declared_rotations

if TYPE_CHECKING:
    from strongroom.cli.context import GlobalOptions
    from strongroom.registry import Explanation


@command("explain")
@click.argument("key", shell_complete=completions.keys)
@click.option("--key", "as_key", is_flag=True, help="Treat KEY as a key, never as a declared name.")
def explain_command(settings: GlobalOptions, *, key: str, as_key: bool) -> None:
    """Show which pipeline answers KEY and what a read passes through; no backend is asked.

    KEY may be a declared name, which stands for the key in its declaration.

    Example: strongroom explain database/password
    """
    from strongroom.registry.explanation import explain
    from strongroom.registry.routing import Routes

    plan = settings.plan()
    declared = declared_by_other_key(plan, key, as_key=as_key)
    named = [f"name        {declared.name}"] if declared is not None else []
    if declared is not None and declared.compose is not None:
        if settings.json:
            output.as_json({"name": declared.name, "composed_of": list(declared.parts)})
        else:
            output.lines([*named, f"composed of {', '.join(declared.parts)}"])
        return
    explanation = explain(
        plan,
        declared.key if declared is not None else key,
        routes=Routes(plan.routes if settings.pipeline is None else ()),
        default=settings.pipeline or plan.default,
    )
    if settings.tenant is not None:
        refuse_useless_tenant(plan, [explanation.pipeline])
    rotator = (
        (rotation.rotate or {}).get("rotator")
        if (rotation := declared_rotations(plan).get(explanation.key))
        else None
    )
    if settings.json:
        output.as_json({**_as_data(explanation), "rotator": rotator})
    else:
        rotated = (
            [f"rotated by  {rotator}  ({plan.rotators[rotation.name].position})"]
            if rotation and rotator
            else []
        )
        field = [f"field       {declared.field}"] if declared is not None and declared.field else []
        output.lines([*named, *_path(explanation), *field, *rotated])


def _as_data(explanation: Explanation) -> dict[str, Any]:
    import dataclasses

    return dataclasses.asdict(explanation)


def _path(explanation: Explanation, indent: str = "") -> list[str]:
    route = f"route {explanation.route!r}" if explanation.route is not None else "the default pipeline"
    lines = [
        f"{indent}key         {explanation.key}",
        f"{indent}route       {route}",
        f"{indent}pipeline    {explanation.pipeline}  ({explanation.source})",
    ]
    if indent:  # a member of a fallback has no route of its own
        lines = [f"{indent}pipeline    {explanation.pipeline}  ({explanation.source})"]
    elif explanation.profile is not None:
        lines.append(f"profile     {explanation.profile}")
    if explanation.hooks:
        lines.append(f"{indent}hooks       {' -> '.join(explanation.hooks)}")
    if explanation.middleware:
        lines.append(f"{indent}middleware  {' -> '.join(explanation.middleware)}")
    if explanation.provider is not None:
        lines.append(f"{indent}provider    {explanation.provider}")
    if explanation.stored_key != explanation.key:
        lines.append(f"{indent}stored as   {explanation.stored_key}")
    for member in explanation.fallback:
        lines += [f"{indent}falls to", *_path(member, indent + "  ")]
    return lines
