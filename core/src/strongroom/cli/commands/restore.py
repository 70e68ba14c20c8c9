"""`strongroom restore`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from strongroom.cli.app import FilePath, command
from strongroom.cli.embedded_store import all_tenants_option, key_id_of, report

if TYPE_CHECKING:
    from strongroom.cli.context import GlobalOptions


@command("restore")
@click.argument("file", type=FilePath(path_type=Path))
@click.option(
    "--key-file",
    metavar="F",
    type=FilePath(path_type=Path),
    help="The key that FILE needs, if it is older than the store's.",
)
@all_tenants_option
def restore_command(settings: GlobalOptions, *, file: Path, key_file: Path | None, all_tenants: bool) -> None:
    """Replace the store with the backup FILE; a damaged store is moved aside and kept.

    A backup from before a rekey needs the key of that time, which the rekey left beside the key file: the
    error names it. Afterwards the store is encrypted under its current key again.

    Example: strongroom restore secrets.backup
    """
    from strongroom.pipeline.maintenance import operate, store_of

    with settings.registry() as registry:
        settings.tell_own_store(registry.plan)
        pipeline = registry.pipeline(registry.default_pipeline())

        def call() -> str | None:
            store = store_of(pipeline, "restore")
            store.restore(file, **({} if key_file is None else {"key_file": key_file}))
            registry.replaced(pipeline.name)
            return key_id_of(store)

        key = operate(pipeline, "restore", call, all_tenants=all_tenants)
    under = f", under the key {key}" if key is not None else ""
    report(settings, {"restored": str(file), "key": key}, f"restored {file}{under}")
