"""`strongroom import` and `copy`: secrets from one place to another, verified before anything is deleted."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from strongroom.cli import completions, errors, output
from strongroom.cli.app import command
from strongroom.cli.formats.table_reader import FORMATS, read_table
from strongroom.cli.progress import progress
from strongroom.errors import InvalidKeyError, SecretNotFoundError, StrongroomError, ValidationError, show_key
from strongroom.pipeline import check_user_key, read_many
from strongroom.rotation.target import room_of

if TYPE_CHECKING:
    from strongroom.cli.context import Settings
    from strongroom.pipeline import Pipeline
    from strongroom.providers import SecretProvider

_PART = 100
_PROBE = "strongroom-probe-"


class Plan(NamedTuple):
    """What a move would do, key by key."""

    new: list[str]
    same: list[str]
    other: list[str]

    def as_rows(self) -> Iterator[list[str]]:
        """Yield a row for each key and what happens to it."""
        for told, keys in (("copy", self.new), ("is there", self.same), ("OTHER VALUE", self.other)):
            yield from ([key, told] for key in keys)


class _Removed(NamedTuple):
    """What `--delete-source` deleted, and what it kept, each with the reason."""

    deleted: list[str]
    kept: dict[str, str]


@command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--prefix", metavar="P", default="", help="Put P before the names that the spec does not declare."
)
@click.option(
    "--format", "kind", type=click.Choice(FORMATS), help="What FILE is, where its ending does not tell."
)
@click.option("--overwrite", is_flag=True, help="Replace other values that are stored already.")
@click.option("--dry-run", is_flag=True, help="Tell what would happen, and do nothing.")
def import_command(
    settings: Settings, *, file: Path, prefix: str, kind: str | None, overwrite: bool, dry_run: bool
) -> None:
    """Store the names and values of FILE: `.env`, or JSON or YAML by its ending or --format.

    A declared name goes to its key, any other is its own key. Ends with 8 where another value is there.

    Example: strongroom import .env --dry-run
    """
    named = read_table(file, settings.warn, kind)
    with settings.registry() as registry:
        settings.tell_own_store(registry.plan)
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
@click.argument("source", metavar="SRC", shell_complete=completions.pipelines)
@click.argument("target", metavar="DST", shell_complete=completions.pipelines)
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
) -> int:
    """Copy the secrets of pipeline SRC to pipeline DST, and read each back. Call it again to go on.

    With --delete-source, what SRC or DST has changed meanwhile is kept, and told with exit 8.

    Example: strongroom copy app app --dry-run
    """
    with settings.registry([source, target]) as registry:
        origin, destination = registry.pipeline(source), registry.pipeline(target)
        if delete_source and source == target:
            raise errors.UsageError("SRC and DST are the same pipeline, and --delete-source would empty it")
        keys = origin.list_secrets(prefix)
        own = read_many(_itself(origin), keys) if delete_source else {}
        values = {**read_many(origin, [key for key in keys if key not in own]), **own}
        plan = _move(settings, values, destination, overwrite=overwrite, dry_run=dry_run)
        removed = _Removed([], {})
        if delete_source and not dry_run and values:
            _refuse_shared(origin, destination, next(iter(values)))
            removed = _delete(values, origin, destination)
    for key, reason in removed.kept.items():
        settings.warn(f"{show_key(key)} is not deleted from {source}: {reason}")
    _tell(settings, plan, dry_run=dry_run, removed=removed if delete_source else None, source=source)
    return errors.CONFLICT if removed.kept else 0


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


def _itself(pipeline: Pipeline) -> Pipeline:
    """Return `pipeline` without caches, rules for values and what it falls back to; hooks see it all."""
    return pipeline.around(room_of(pipeline))


def _refuse_shared(origin: Pipeline, destination: Pipeline, key: str) -> None:
    """Refuse where DST reads SRC's store: one of its own, or one it falls back to.

    A key of ours beside `key` tells: no secret is touched, and a crash leaves no more than that key behind.
    """
    folder = key.rpartition("/")[0]
    probe = f"{folder}/{_PROBE}" if folder else _PROBE
    probe += secrets.token_hex(8)
    room = _itself(origin)
    room.set_secret(probe, "left by an interrupted `strongroom copy --delete-source`")
    try:
        shared = _now(_itself(destination), probe) is not None or _reads(destination, probe)
    finally:
        room.delete_secret(probe)
    if shared:
        raise errors.UsageError(
            f"{destination.name} reads the store of {origin.name}; --delete-source would lose every secret",
            hint="nothing is deleted",
        )


def _delete(values: Mapping[str, str], origin: Pipeline, destination: Pipeline) -> _Removed:
    """Delete from `origin` each of `values` that both stores, asked right before, still hold."""
    source, copy = _itself(origin), _itself(destination)
    removed = _Removed([], {})
    with progress("deleting") as advance:
        for done, (key, value) in enumerate(values.items(), 1):
            # DST first, so that as little as can be lies between the last look at SRC and the deletion.
            if _now(copy, key) != value:
                removed.kept[key] = f"{destination.name} itself does not hold what was copied"
            elif (there := _now(source, key)) is None:
                removed.kept[key] = "it is not there any more, or in another pipeline that SRC falls back to"
            elif there != value:
                removed.kept[key] = "it was changed after it was read"
            else:
                origin.delete_secret(key)
                removed.deleted.append(key)
            advance(done, len(values))
    return removed


def _now(provider: SecretProvider, key: str) -> str | None:
    try:
        return provider.get_secret(key)
    except SecretNotFoundError:
        return None


def _reads(provider: SecretProvider, probe: str) -> bool:
    """Tell whether `provider` has `probe`, which no cache can know yet, from wherever it reads."""
    with contextlib.suppress(ValidationError, InvalidKeyError):  # rules are for the application's keys
        return _now(provider, probe) is not None
    return False


def _refuse(settings: Settings, plan: Plan) -> None:
    if not settings.json:
        output.table(["key", "what"], plan.as_rows())
    raise errors.UsageError(
        f"{len(plan.other)} keys hold another value, the first is {show_key(plan.other[0])}; "
        "nothing was written",
        code=errors.CONFLICT,
        hint="replace them with --overwrite",
    )


def _tell(
    settings: Settings, plan: Plan, *, dry_run: bool, removed: _Removed | None = None, source: str = ""
) -> None:
    if settings.json:
        told = {} if removed is None else {"deleted": removed.deleted, "kept": list(removed.kept)}
        output.as_json({"dry_run": dry_run, **plan._asdict(), **told})
    elif dry_run:
        output.table(["key", "what"], plan.as_rows())
    else:
        line = f"{len(plan.new)} stored, {len(plan.other)} replaced, {len(plan.same)} were there already"
        if removed is not None:
            line += f", {len(removed.deleted)} deleted from {source}"
        output.lines([line])
