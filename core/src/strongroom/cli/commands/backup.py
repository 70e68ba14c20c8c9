"""`strongroom backup`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from strongroom.cli.app import FilePath, command
from strongroom.cli.embedded_store import all_tenants_option, key_id_of, report
from strongroom.cli.overwrite import refuse_own_files

if TYPE_CHECKING:
    from strongroom.cli.context import GlobalOptions


@command("backup")
@click.argument("file", type=FilePath(path_type=Path))
@click.option("--overwrite", is_flag=True, help="Replace FILE if it exists.")
@all_tenants_option
def backup_command(settings: GlobalOptions, *, file: Path, overwrite: bool, all_tenants: bool) -> None:
    """Write a verified copy of the encrypted store to FILE while it is in use; it needs the same key.

    Example: strongroom backup secrets.backup
    """
    from strongroom.pipeline.maintenance import operate, store_of

    with settings.registry() as registry:
        settings.tell_own_store(registry.plan)
        pipeline = registry.pipeline(registry.default_pipeline())
        refuse_own_files(registry.plan, file, "a backup")

        def call() -> str | None:
            store = store_of(pipeline, "backup")
            needed = store.backup(file, overwrite=overwrite)
            return needed if isinstance(needed, str) else key_id_of(store)  # a third party's may return None

        key = operate(pipeline, "backup", call, all_tenants=all_tenants, writes=False)
    needs = f"it needs the key {key}; " if key is not None else ""
    report(
        settings, {"backup": str(file), "key": key}, f"wrote {file}; {needs}keep it away from the store's key"
    )
