"""`strongroom cache`: what caches remember, also in the level that processes share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from strongroom.cli import completions, output
from strongroom.cli.app import COMMANDS, Command

if TYPE_CHECKING:
    from strongroom.cli.context import GlobalOptions


@click.group("cache", short_help=COMMANDS["cache"])
def cache_command() -> None:
    """Manage the caches of the spec's pipelines.

    Example: strongroom cache clear
    """


@cache_command.command("clear", cls=Command, short_help="Forget one secret, or all.")
@click.argument("key", metavar="[KEY]", required=False, shell_complete=completions.keys)
@click.pass_obj
def clear_command(settings: GlobalOptions, *, key: str | None) -> int:
    """Clear KEY, or everything, from the caches, so that the next read asks the backend.

    The second level that processes share forgets it, and so does every process that listens to that level,
    for the tenant that --tenant names. Without --tenant, KEY is a secret outside any tenant, and everything
    includes all tenants. Exits with 5 if a second level does not answer: then nothing is forgotten there.

    Example: strongroom cache clear database/password
    """
    from strongroom.cache.addresses import caches_of
    from strongroom.errors import BackendUnavailableError
    from strongroom.tenancy import current_tenant

    with settings.registry() as registry:
        if key is not None:
            settings.check_tenant(registry, key)
            names = [registry.pipeline_for(key).name]
            registry.invalidate(key)
        else:
            names = registry.pipelines()
        caches = [(name, cache) for name in names for cache in caches_of(registry.pipeline(name))]
        if key is None:
            for _, cache in caches:
                if current_tenant() is None:
                    cache.cache.drop_all()  # `clear` would only forget what belongs to no tenant
                else:
                    cache.clear()
        failed = sorted({name for name, cache in caches if cache.owes_drops()})
        if failed:
            raise BackendUnavailableError(
                f"the second level of the cache of {', '.join(failed)} was not cleared: it does not answer",
                hint="try again when it does; until then its entries live until they expire",
            )
    cleared = sorted({name for name, _ in caches})
    if settings.json:
        output.as_json({"key": key, "pipelines": cleared})
    elif not cleared:
        settings.warn("there is no cache to clear")
    else:
        everything = "everything" if current_tenant() is None else "everything of this tenant"
        what = everything if key is None else "the secret"
        output.lines([f"{what} was forgotten by the cache of {', '.join(cleared)}"])
    return 0
