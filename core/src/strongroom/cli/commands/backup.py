"""`strongroom backup`."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from strongroom.cli.app import FilePath, command
from strongroom.cli.embedded_store import all_tenants_option, key_id_of, report
from strongroom.cli.errors import UsageError

if TYPE_CHECKING:
    from strongroom.cli.context import GlobalOptions
    from strongroom.spec.plan import Plan


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
        _refuse_files_of_the_spec(registry.plan, file)

        def call() -> str | None:
            store = store_of(pipeline, "backup")
            needed = store.backup(file, overwrite=overwrite)
            return needed if isinstance(needed, str) else key_id_of(store)  # a third party's may return None

        key = operate(pipeline, "backup", call, all_tenants=all_tenants, writes=False)
    needs = f"it needs the key {key}; " if key is not None else ""
    report(
        settings, {"backup": str(file), "key": key}, f"wrote {file}; {needs}keep it away from the store's key"
    )


def _refuse_files_of_the_spec(plan: Plan, target: Path) -> None:
    """Refuse to replace what the spec names: with --overwrite that would be the store of another pipeline.

    Raises:
        UsageError: `target` is the spec, or a file that the spec names, in any profile.
    """
    if not plan.digest or not target.exists():
        return
    from strongroom.spec.key_uses import named_files

    if target.samefile(plan.source):
        raise UsageError(f"{target} is the spec", hint="name another file for the backup")
    for place, named in named_files(plan.source):
        if _is_same(target, named):
            raise UsageError(
                f"{target} is the file of {place}, which a backup never replaces",
                hint="name another file for the backup",
            )


def _is_same(target: Path, named: Path) -> bool:
    with suppress(OSError, ValueError):  # it is not there, or not for this user to see
        return target.samefile(named)
    return False
