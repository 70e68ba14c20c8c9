"""`strongroom get`, as click sees it."""

from __future__ import annotations

from collections.abc import Sequence

import click

from strongroom.cli import completions, errors
from strongroom.cli.actions.get import get, get_several
from strongroom.cli.app import command
from strongroom.cli.context import GlobalOptions

__all__ = ["get_command"]


@command("get")
@click.argument("keys", metavar="KEY...", nargs=-1, required=True, shell_complete=completions.keys)
@click.option("--field", metavar="F", help="A member of a JSON secret; 'a.b' and 'a.0' descend.")
@click.option("--version", metavar="V", help="An older version, as `history` lists them.")
@click.option("--key", "as_key", is_flag=True, help="Treat KEY as a key, never as a declared name.")
def get_command(
    settings: GlobalOptions, *, keys: Sequence[str], field: str | None, version: str | None, as_key: bool
) -> None:
    """Print the value of KEY on stdout; a newline follows it only on a terminal.

    KEY may also be a declared name: if no key has that name, it stands for the key in its declaration.
    Several KEYs are printed as NAME=value lines that a shell reads; if one is missing, nothing is printed.

    Example: strongroom get database/password
    """
    if len(keys) == 1:
        get(settings, key=keys[0], field=field, version=version, as_key=as_key)
    elif field is not None or version is not None:
        raise errors.UsageError("--field and --version are for one KEY")
    else:
        get_several(settings, keys, as_key=as_key)
