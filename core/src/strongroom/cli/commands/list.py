"""`strongroom list`, as click sees it."""

from __future__ import annotations

import click

from strongroom.cli import completions
from strongroom.cli.actions.list import list_keys
from strongroom.cli.app import command
from strongroom.cli.context import GlobalOptions

__all__ = ["list_command"]


@command("list")
@click.argument("prefix", required=False, default="", shell_complete=completions.keys)
@click.option("--tree", is_flag=True, help="Draw the keys as a tree of their segments.")
@click.option(
    "--long", "long", is_flag=True, help="Show each key's age, version, declared name and due date."
)
def list_command(settings: GlobalOptions, *, prefix: str, tree: bool, long: bool) -> None:
    """List the keys, or those that begin with PREFIX, one per line.

    With --long, the backend is asked about each key; what it does not say is shown as `-`. No value is read.

    Example: strongroom list database/
    """
    list_keys(settings, prefix=prefix, tree=tree, long=long)
