"""`strongroom backup`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from strongroom.cli.app import FilePath, command
from strongroom.cli.embedded_store import all_tenants_option, report
from strongroom.cli.errors import UsageError
from strongroom.errors import StrongroomError
from strongroom.spec.plan import Part

if TYPE_CHECKING:
    from strongroom.cli.context import GlobalOptions
    from strongroom.spec.plan import Plan

_TEXT_PATHS: Final = frozenset({"path", "file_path", "key_file"})
"""Options that are paths, even if a component takes them as text."""


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
            needed = store_of(pipeline, "backup").backup(file, overwrite=overwrite)
            return needed if isinstance(needed, str) else None  # that of a third party may return nothing

        key = operate(pipeline, "backup", call, all_tenants=all_tenants, writes=False)
    needs = f"it needs the key {key}; " if key is not None else ""
    report(
        settings, {"backup": str(file), "key": key}, f"wrote {file}; {needs}keep it away from the store's key"
    )


def _refuse_files_of_the_spec(plan: Plan, target: Path) -> None:
    """Refuse to replace what the spec names: with --overwrite that would be the store of another pipeline.

    Raises:
        UsageError: `target` is the spec, or a file of one of its components.
    """
    if not target.exists():
        return
    if plan.digest and target.samefile(plan.source):
        raise UsageError(f"{target} is the spec", hint="name another file for the backup")
    for part in plan.components():
        options: Mapping[str, object] = {}
        with suppress(StrongroomError):  # what it refers to is of a pipeline that is not used here
            options = part.resolved()
        if any(path.exists() and target.samefile(path) for path in _paths(options)):
            raise UsageError(
                f"{target} is a file of {part.path}, which a backup never replaces",
                hint="name another file for the backup",
            )


def _paths(options: Mapping[str, object]) -> Iterator[Path]:
    """Yield the paths in the options of a component, and of components inside them."""
    for name, value in options.items():
        if isinstance(value, Part):
            yield from _paths(value.options)
        for one in value if isinstance(value, list | tuple) else [value]:
            if isinstance(one, Path) or (isinstance(one, str) and name in _TEXT_PATHS):
                yield Path(one)
