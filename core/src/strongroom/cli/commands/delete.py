"""`strongroom delete`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from strongroom.cli import completions, errors, output
from strongroom.cli.app import command
from strongroom.cli.declared import names
from strongroom.cli.declared.rotations import has_begun
from strongroom.cli.declared.sightings import forget_sightings
from strongroom.cli.declared.undeclared import forget_undeclared
from strongroom.errors import SecretNotFoundError, show_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from strongroom.cli.context import GlobalOptions

_LOST = (
    "a rotation of {} was in flight, and is deleted with it: the target system may have a value that is "
    "stored nowhere; set another one there"
)


@command("delete")
@click.argument("keys", metavar="KEY...", nargs=-1, required=True, shell_complete=completions.keys)
def delete_command(settings: GlobalOptions, keys: Sequence[str]) -> int:
    """Delete the secrets under the KEYs; those that are not there are reported, and the others deleted.

    Example: strongroom delete database/password old/token
    """
    code, deleted = 0, []
    with settings.registry() as registry:
        settings.tell_own_store(registry.plan)
        for key in keys:
            registry.explain(key)  # refuses a bad key before any is deleted
            settings.check_tenant(registry, key)
        try:
            for key in dict.fromkeys(keys):
                begun = has_begun(registry.pipeline_for(key), key)
                try:
                    registry.delete_secret(key)
                    deleted.append(key)
                    settings.note(f"deleted {show_key(key)}")
                    if begun:
                        settings.warn(_LOST.format(show_key(key)))
                except SecretNotFoundError as error:
                    names.with_nearest(registry, error)
                    code = errors.print_error(error, as_json=settings.json, debug=settings.debug)
        finally:  # even if an outage ends it: those before it are deleted
            forget_undeclared(registry.plan, deleted)
            forget_sightings(registry, deleted)
            if settings.json and deleted:
                output.as_json({"deleted": deleted})
    return code
