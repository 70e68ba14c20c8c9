"""`strongroom import` and `copy`: secrets from one place to another, verified before anything is deleted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from strongroom.cli import completing, failures, output
from strongroom.cli.app import command
from strongroom.cli.progress import progress
from strongroom.errors import SecretNotFoundError, StrongroomError, UnsupportedOperationError, show_key
from strongroom.pipeline import check_user_key, read_many
from strongroom.providers import Describer

if TYPE_CHECKING:
    from strongroom.cli.frame import Settings
    from strongroom.providers import SecretProvider

_PART = 100


class Plan(NamedTuple):
    """What a move would do, key by key."""

    new: list[str]
    same: list[str]
    other: list[str]

    def as_rows(self) -> Iterator[list[str]]:
        """Yield a row for each key and what happens to it."""
        for told, keys in (("copy", self.new), ("is there", self.same), ("OTHER VALUE", self.other)):
            yield from ([key, told] for key in keys)


@command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--prefix", metavar="P", default="", help="Put P before the names that the spec does not declare."
)
@click.option("--overwrite", is_flag=True, help="Replace other values that are stored already.")
@click.option("--dry-run", is_flag=True, help="Tell what would happen, and do nothing.")
def import_command(settings: Settings, *, file: Path, prefix: str, overwrite: bool, dry_run: bool) -> None:
    """Store the names and values of FILE: `.env`, or JSON or YAML by its ending.

    A declared name goes to its key, any other is its own key. Ends with 8 where another value is there.

    Example: strongroom import .env --dry-run
    """
    from strongroom.cli.tables import read_table

    named = read_table(file)
    with settings.registry() as registry:
        declared = registry.plan.secrets
        composed = [name for name in named if name in declared and declared[name].compose is not None]
        for name in composed:
            settings.warn(f"{name} is left out: the spec composes it of others")
        values = {
            check_user_key(declared[name].key if name in declared else prefix + name): value
            for name, value in named.items()
            if name not in composed
        }
        plan = _move(settings, values, registry, overwrite=overwrite, dry_run=dry_run)
    _tell(settings, plan, dry_run=dry_run)


@command("copy")
@click.argument("source", metavar="SRC", shell_complete=completing.pipelines)
@click.argument("target", metavar="DST", shell_complete=completing.pipelines)
@click.option("--prefix", metavar="P", default="", help="Only the keys that begin with P.")
@click.option("--overwrite", is_flag=True, help="Replace other values that DST has.")
@click.option("--delete-source", is_flag=True, help="Delete from SRC what DST has been seen to hold.")
@click.option("--dry-run", is_flag=True, help="Tell what would happen, and do nothing.")
def copy_command(
    settings: Settings,
    *,
    source: str,
    target: str,
    prefix: str,
    overwrite: bool,
    delete_source: bool,
    dry_run: bool,
) -> None:
    """Copy the secrets of pipeline SRC to pipeline DST, and read each back. Call it again to go on.

    Example: strongroom copy app app --dry-run
    """
    with settings.registry() as registry:
        origin, destination = registry.pipeline(source), registry.pipeline(target)
        if delete_source and source == target:
            raise failures.UsageError("SRC and DST are the same pipeline, and --delete-source would empty it")
        keys = origin.list_secrets(prefix)
        values = read_many(origin, keys)
        plan = _move(settings, values, destination, overwrite=overwrite, dry_run=dry_run)
        if delete_source and not dry_run:
            _delete(values, origin, destination, source, target)
    _tell(settings, plan, dry_run=dry_run)


def _move(
    settings: Settings,
    values: Mapping[str, str],
    target: SecretProvider,
    *,
    overwrite: bool,
    dry_run: bool,
) -> Plan:
    """Store `values` in `target` and read them back; what is there already is not written again."""
    with progress("copying") as advance:
        present = read_many(target, list(values))
        plan = Plan(
            new=sorted(key for key in values if key not in present),
            same=sorted(key for key in values if present.get(key) == values[key]),
            other=sorted(key for key in values if key in present and present[key] != values[key]),
        )
        if dry_run:
            return plan
        if plan.other and not overwrite:
            _refuse(settings, plan)
        todo = sorted([*plan.new, *plan.other])
        for start in range(0, len(todo), _PART):
            _store(values, todo[start : start + _PART], target)
            advance(min(start + _PART, len(todo)), len(todo))
    return plan


def _store(values: Mapping[str, str], keys: Sequence[str], target: SecretProvider) -> None:
    for key in keys:
        target.set_secret(key, values[key])
    stored = read_many(target, keys)
    wrong = [key for key in keys if stored.get(key) != values[key]]
    if wrong:
        raise StrongroomError(
            f"{len(wrong)} keys read back other than they were written, the first is {show_key(wrong[0])}",
            hint="nothing was deleted; a middleware may change values",
        )


def _delete(
    values: Mapping[str, str], origin: SecretProvider, destination: SecretProvider, source: str, target: str
) -> None:
    """Delete `values` from `origin`, unless `destination` turns out to read them from there too."""
    if values:  # a destination that does not answer must say so before anything is gone
        _has(destination, next(iter(values)))
    for key, value in values.items():
        origin.delete_secret(key)
        if not _has(destination, key):
            origin.set_secret(key, value)
            raise failures.UsageError(
                f"{source} and {target} share the store of {show_key(key)}; "
                "--delete-source would lose it: it was put back, and nothing more is deleted"
            )


def _has(provider: SecretProvider, key: str) -> bool:
    """Tell whether the backend has `key`, whatever a cache remembers of it.

    Not by a list where there is another way: on a service that lists late it lacks what was just written.
    """
    if isinstance(provider, Describer):
        try:
            provider.describe_secret(key)
        except SecretNotFoundError:
            return False
        except UnsupportedOperationError:
            pass
        else:
            return True
    return key in provider.list_secrets(key)


def _refuse(settings: Settings, plan: Plan) -> None:
    if not settings.json:
        output.table(["key", "what"], plan.as_rows())
    raise failures.UsageError(
        f"{len(plan.other)} keys hold another value, the first is {show_key(plan.other[0])}; "
        "nothing was written",
        code=failures.CONFLICT,
        hint="replace them with --overwrite",
    )


def _tell(settings: Settings, plan: Plan, *, dry_run: bool) -> None:
    if settings.json:
        output.as_json({"dry_run": dry_run, **plan._asdict()})
    elif dry_run:
        output.table(["key", "what"], plan.as_rows())
    else:
        output.lines(
            [f"{len(plan.new)} stored, {len(plan.other)} replaced, {len(plan.same)} were there already"]
        )
