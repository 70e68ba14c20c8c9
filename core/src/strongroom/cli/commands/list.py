"""`strongroom list`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from strongroom.cli import output
from strongroom.cli.app import command

if TYPE_CHECKING:
    from collections.abc import Sequence

    from strongroom.cli.context import Settings


@command("list")
@click.argument("prefix", required=False, default="")
@click.option("--tree", is_flag=True, help="Draw the keys by their segments.")
def list_command(settings: Settings, *, prefix: str, tree: bool) -> None:
    """List the keys, or those that begin with PREFIX, one a line.

    Example: strongroom list database/
    """
    with settings.registry() as registry:
        keys = registry.list_secrets(prefix)
    if settings.json:
        output.as_json({"keys": keys})
    else:
        output.lines(_tree(keys) if tree else keys)


def _tree(keys: Sequence[str]) -> list[str]:
    nested: dict[str, Any] = {}
    for key in keys:
        level = nested
        for segment in key.split("/"):
            level = level.setdefault(segment, {})
    return _branches(nested, "")


def _branches(level: dict[str, Any], indent: str) -> list[str]:
    lines = []
    for place, (segment, below) in enumerate(level.items(), 1):
        last = place == len(level)
        lines.append(f"{indent}{'└── ' if last else '├── '}{segment}")
        lines += _branches(below, indent + ("    " if last else "│   "))
    return lines
