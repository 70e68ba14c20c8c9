"""`strongroom mv`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from strongroom.cli import completions, errors, output
from strongroom.cli.actions.transfer import unwrapped, value_now
from strongroom.cli.app import command
from strongroom.cli.command_lines import line_about
from strongroom.cli.declared import names
from strongroom.cli.declared.rotations import unfinished, ways_on
from strongroom.cli.declared.sightings import note_sightings
from strongroom.cli.declared.undeclared import forget_undeclared, note_undeclared
from strongroom.cli.scanning.leased import refuse_writes
from strongroom.errors import SecretNotFoundError, StrongroomError, UnsupportedOperationError, show_key
from strongroom.providers import ConditionalWriter

if TYPE_CHECKING:
    from strongroom.cli.context import GlobalOptions
    from strongroom.pipeline import Pipeline
    from strongroom.registry import SecretProviderRegistry


@command("mv")
@click.argument("old", metavar="OLD", shell_complete=completions.keys)
@click.argument("new", metavar="NEW")
def mv_command(settings: GlobalOptions, *, old: str, new: str) -> int:
    """Store under NEW what is under OLD, and delete OLD once NEW has been read back.

    Both are keys. A secret already stored under NEW is never replaced, and OLD is kept if it changes
    meanwhile, or is in the middle of a rotation (exit 8). Older versions are not moved.

    Example: strongroom mv database/pass database/password
    """
    if old == new:
        raise errors.UsageError("OLD and NEW are the same key")
    with settings.registry() as registry:
        settings.tell_own_store(registry.plan)
        pipeline = registry.explain(new).pipeline  # refuses a bad key before anything is read
        for key in (old, new):  # both are written
            settings.check_tenant(registry, key)
        origin, destination = registry.pipeline_for(old), registry.pipeline_for(new)
        refuse_writes(origin, old)
        refuse_writes(destination, new)
        source, copy = unwrapped(origin), unwrapped(destination)
        try:
            value, missing = source.get_secret(old), None
        except SecretNotFoundError as error:
            value, missing = "", names.with_nearest(registry, error)
        if missing is not None:
            raise missing
        _refuse_unfinished(settings, registry, origin, old)
        _store(registry, destination, copy, new, value)
        if value_now(source, old) != value:
            raise errors.UsageError(
                f"{show_key(old)} was changed meanwhile, and is kept; {show_key(new)} has its previous value",
                code=errors.CONFLICT,
            )
        origin.delete_secret(old)
        forget_undeclared(registry.plan, [old])
        note_undeclared(registry.plan, [new])
        note_sightings(registry, [one for one in registry.plan.secrets.values() if one.key == new])
        for name, declared in registry.plan.secrets.items():
            if declared.key == old:
                settings.warn(f"the spec still looks for {name} at {show_key(old)}: change its `key`")
    settings.note(f"{show_key(old)} is {show_key(new)} now")
    if settings.json:
        output.as_json({"from": old, "to": new, "pipeline": pipeline})
    return 0


def _refuse_unfinished(
    settings: GlobalOptions, registry: SecretProviderRegistry, origin: Pipeline, key: str
) -> None:
    """Refuse what is in the middle of a rotation: the target system may have a value that is nowhere else."""
    left = unfinished(origin, key)
    if left is not None:
        finish, undo = ways_on(settings, registry, key)
        raise errors.UsageError(
            f"{show_key(key)} is not moved: {left.state}",
            code=errors.CONFLICT,
            hint=left.hint or f"{finish} finishes it, {undo} undoes it",
        )


def _store(
    registry: SecretProviderRegistry, destination: Pipeline, copy: Pipeline, key: str, value: str
) -> None:
    """Store `value` where nothing is stored yet, and read it back."""
    there = value_now(copy, key)
    if there is not None:
        # The two may be one secret under two names, so that even an equal value says nothing of a copy.
        raise errors.UsageError(
            f"{show_key(key)} is there already, and nothing was changed",
            code=errors.CONFLICT,
            hint=f"look at it; {line_about(registry, key, 'delete', key)} removes it",
        )
    if not (isinstance(destination, ConditionalWriter) and _created(destination, key, value)):
        destination.set_secret(key, value)
    if value_now(copy, key) != value:
        raise StrongroomError(
            f"{show_key(key)} was read back with a value that was not written",
            hint="nothing was deleted; a middleware may change values",
        )


def _created(destination: ConditionalWriter, key: str, value: str) -> bool:
    """Store `value` where nothing is; return False if the server does not offer what its provider can."""
    try:
        destination.set_secret_if(key, value, None)
    except UnsupportedOperationError:
        return False
    return True
