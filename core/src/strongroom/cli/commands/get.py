"""`strongroom get`, as click sees it."""

from __future__ import annotations

import click

from strongroom.cli import completions
from strongroom.cli.app import command
from strongroom.cli.context import Settings
from strongroom.cli.get import get

__all__ = ["get_command"]


@command("get")
@click.argument("key", shell_complete=completions.keys)
@click.option("--field", metavar="F", help="A member of a JSON secret; 'a.b' and 'a.0' descend.")
@click.option("--version", metavar="V", help="An older version, as `history` lists them.")
def get_command(settings: Settings, key: str, field: str | None, version: str | None) -> None:
    """Print the value of KEY on stdout; a newline follows it only on a terminal.

    Example: strongroom get database/password
    """
    get(settings, key=key, field=field, version=version)
