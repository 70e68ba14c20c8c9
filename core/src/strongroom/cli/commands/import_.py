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
from strongroom.cli.scanning.leased import refuse_writes
from strongroom.cli.volatile_stores import warn_of_loss
from strongroom.declarations.json_fields import member_of, with_member
from strongroom.errors import InvalidKeyError, SecretNotFoundError, ValidationError, show_key
from strongroom.pipeline import check_user_key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from strongroom.cli.context import GlobalOptions
    from strongroom.registry import SecretProviderRegistry
    from strongroom.spec.secret_plan import SecretPlan


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

    Declared names are stored under their key, and in their `field`; others under their own name. Exits with 8
    if a different value is already stored.

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
        places = {
            name: _place(file, prefix + name, declared.get(name)) for name in named if name not in composed
        }
        _refuse_two_values(file, named, places)
        for key, _ in places.values():
            settings.check_tenant(registry, key)
            refuse_writes(registry.pipeline_for(key), key)
        values = {key: named[name] for name, (key, field) in places.items() if field is None}
        members = {name: place for name, place in places.items() if place[1] is not None}
        for key in dict.fromkeys(key for key, _ in members.values()):
            ours = {field: named[name] for name, (at, field) in members.items() if at == key and field}
            values[key] = _with_members(registry, key, ours)
        plan = move(settings, values, registry, overwrite=overwrite, dry_run=dry_run)
        if not dry_run:
            note_undeclared(registry.plan, plan.new)
            note_sightings(registry, [one for one in declared.values() if one.key in values])
            warn_of_loss(settings, registry, plan.new)
    report(settings, plan, dry_run=dry_run)


def _place(file: Path, name: str, declared: SecretPlan | None) -> tuple[str, str | None]:
    """Return the key of a name in `file`, and the member that it stands for, if it is declared with one."""
    try:
        key = check_user_key(name if declared is None else declared.key)
    except InvalidKeyError as error:
        error.message = f"{file}: {error.message}"
        raise
    return key, None if declared is None else declared.field


def _refuse_two_values(
    file: Path, named: Mapping[str, str], places: Mapping[str, tuple[str, str | None]]
) -> None:
    """Raise `ValidationError` if one of two names would replace what the other one stores."""
    first: dict[tuple[str, str | None], str] = {}
    whole = {key: name for name, (key, field) in places.items() if field is None}
    problems = []
    for name, (key, field) in places.items():
        other = first.setdefault((key, field), name)
        if named[name] != named[other]:
            at = show_key(key) if field is None else f"the field {field!r} of {show_key(key)}"
            problems.append(f"{other} and {name} are both at {at}, with different values")
        if field is not None and key in whole:
            problems.append(f"{name} is a field of {show_key(key)}, and {whole[key]} is all of it")
    if problems:
        raise ValidationError(f"{file}: {'; '.join(problems)}", hint="leave one of them out")


def _with_members(registry: SecretProviderRegistry, key: str, ours: Mapping[str, str]) -> str:
    """Return what is stored at `key`, a JSON object, with the members `ours`; the others stay."""
    registry.invalidate(key)  # what somebody else added must not be taken away again
    try:
        whole = registry.get_secret(key)
    except SecretNotFoundError:
        whole = "{}"
    for field, value in ours.items():
        try:
            same = member_of(whole, key, field) == value
        except SecretNotFoundError:
            same = False
        whole = whole if same else with_member(whole, key, field, value, add=True)
    return whole
