"""`strongroom import`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from strongroom.cli.actions.transfer import move, report
from strongroom.cli.app import FilePath, command
from strongroom.cli.child.environment import why_dangerous
from strongroom.cli.declared.sightings import note_sightings
from strongroom.cli.declared.undeclared import note_undeclared
from strongroom.cli.formats.table_reader import FORMATS, read_table
from strongroom.cli.output import progress
from strongroom.cli.volatile_stores import warn_of_loss
from strongroom.pipeline import check_user_key

if TYPE_CHECKING:
    from strongroom.cli.context import GlobalOptions


@command("import")
@click.argument("file", type=FilePath(path_type=Path))
@click.option(
    "--prefix", metavar="P", default="", help="Put P before the names that the spec does not declare."
)
@click.option(
    "--format", "kind", type=click.Choice(FORMATS), help="The format of FILE, if its extension does not say."
)
@click.option("--overwrite", is_flag=True, help="Replace different values that are already stored.")
@click.option("--dry-run", is_flag=True, help="Show what would happen, and do nothing.")
def import_command(
    settings: GlobalOptions, *, file: Path, prefix: str, kind: str | None, overwrite: bool, dry_run: bool
) -> None:
    """Store the names and values in FILE: `.env`, or JSON or YAML by its extension or --format.

    --format docker reads files for `docker run --env-file`, where quotes and # are part of a value.

    --format keepass reads what `keepassxc-cli export --format csv` (or xml) prints, and the XML of KeePass 2.

    Declared names are stored under their key; others under their own name. Exits with 8 if a different value
    is already stored.

    Example: strongroom import .env --dry-run
    """
    with progress(f"reading {file}"):
        named = read_table(file, settings.warn, kind, left_out=why_dangerous)
    with settings.registry() as registry:
        settings.tell_own_store(registry.plan)
        declared = registry.plan.secrets
        composed = [name for name in named if name in declared and declared[name].compose is not None]
        for name in composed:
            settings.warn(f"{name} is left out: the spec composes it from others")
        values = {
            check_user_key(declared[name].key if name in declared else prefix + name): value
            for name, value in named.items()
            if name not in composed
        }
        plan = move(settings, values, registry, overwrite=overwrite, dry_run=dry_run)
        if not dry_run:
            note_undeclared(registry.plan, plan.new)
            note_sightings(registry, [one for one in declared.values() if one.key in values])
            warn_of_loss(settings, registry, plan.new)
    report(settings, plan, dry_run=dry_run)
