"""`strongroom plugins`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom.cli import output
from strongroom.cli.app import command

if TYPE_CHECKING:
    from strongroom.cli.frame import Settings


@command("plugins")
def plugins_command(settings: Settings) -> None:
    """List the installed plugins with what they provide, and what is wrong with the broken ones.

    Example: strongroom plugins
    """
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
