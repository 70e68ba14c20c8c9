"""`strongroom history`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from strongroom.cli import completions, output
from strongroom.cli.app import command
from strongroom.cli.declared import names

if TYPE_CHECKING:
    from strongroom.cli.context import GlobalOptions


@command("history")
@click.argument("key", shell_complete=completions.keys)
@click.option("--key", "as_key", is_flag=True, help="Treat KEY as a key, never as a declared name.")
def history_command(settings: GlobalOptions, *, key: str, as_key: bool) -> None:
    """List the versions of KEY, newest first, without values. KEY may be a declared name.

    Example: strongroom history database/password
    """
    with settings.registry() as registry, names.suggesting(registry):
        key, _ = names.target(registry, key, as_key=as_key, doing="look at")
        settings.check_tenant(registry, key)
        versions = registry.list_versions(key)
    rows = [
        {
            "version": one.version,
            "created_at": one.created_at.isoformat() if one.created_at is not None else None,
            "state": one.state,
        }
        for one in versions
    ]
    if settings.json:
        output.as_json({"key": key, "versions": rows})
    else:
        output.table(
            ["version", "created", "state"],
            (
                [
                    one.version,
                    output.moment(one.created_at) if one.created_at is not None else "unknown",
                    one.state,
                ]
                for one in versions
            ),
        )
