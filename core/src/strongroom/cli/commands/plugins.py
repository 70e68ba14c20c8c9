"""`strongroom plugins`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from strongroom.cli import output
from strongroom.cli.app import command

if TYPE_CHECKING:
    from strongroom.cli.context import GlobalOptions


@command("plugins")
@click.argument("action", type=click.Choice(["new"]), required=False)
@click.argument("name", required=False)
@click.option(
    "--into", metavar="DIR", type=click.Path(path_type=Path), default=Path(), help="Where `new` writes."
)
def plugins_command(settings: GlobalOptions, *, action: str | None, name: str | None, into: Path) -> None:
    """List the installed plugins with what they provide, and what is wrong with the broken ones.

    `plugins new NAME` writes strongroom-NAME, a small distribution that works and is tested by the kit.

    Example: strongroom plugins
    """
    if action is not None:
        _new(settings, name, into)
        return
    from strongroom.plugins import finder

    rows = finder.listed()
    if settings.json:
        members = ("name", "kind", "distribution", "version", "error")
        output.as_json({"plugins": [{member: getattr(row, member) for member in members} for row in rows]})
        return
    output.table(
        ["name", "kind", "distribution", "version", "about"],
        (
            [
                row.name,
                row.kind or "?",
                row.distribution,
                row.version,
                f"BROKEN: {row.error}" if row.error else row.summary,
            ]
            for row in rows
        ),
    )


def _new(settings: GlobalOptions, name: str | None, into: Path) -> None:
    from strongroom.cli.errors import UsageError
    from strongroom.plugins.scaffold import create_plugin

    if name is None:
        raise UsageError("`plugins new` needs the NAME of the new type", hint="strongroom plugins new acme")
    made = create_plugin(name, into)
    if settings.json:
        output.as_json({"created": str(made)})
    else:
        output.lines([f"wrote {made}; next: cd {made} && pip install -e '.[test]' && pytest"])
