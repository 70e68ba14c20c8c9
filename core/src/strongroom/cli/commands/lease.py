"""`strongroom lease`: list and revoke the leases of running and dead processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from strongroom.cli import output
from strongroom.cli.app import COMMANDS, Command
from strongroom.cli.errors import UsageError

if TYPE_CHECKING:
    from strongroom.cli.context import GlobalOptions
    from strongroom.leases import LedgerEntry
    from strongroom.leases.ledger import LeaseFile
    from strongroom.registry import SecretProviderRegistry

_UNAVAILABLE = 5


@click.group("lease", short_help=COMMANDS["lease"])
def lease_command() -> None:
    """Manage leases: credentials that a server issued for a limited time.

    Example: strongroom lease sweep
    """


@lease_command.command("list", cls=Command, short_help="List the leases of all processes.")
@click.pass_obj
def list_command(settings: GlobalOptions) -> int:
    """List the leases that processes of this user hold, or held when they died; never their values.

    Example: strongroom lease list
    """
    leases = [(entry, alive) for _, entry, alive in _entries()]
    if settings.json:
        output.as_json({"leases": [entry.shown() | {"alive": alive} for entry, alive in leases]})
        return 0
    if not leases:
        output.lines(["no process holds a lease"])
    for entry, alive in leases:
        holder = f"process {entry.pid}" if alive else f"process {entry.pid}, which is dead"
        output.lines([f"{entry.id}  {entry.key}  {entry.pipeline}  until {_until(entry)}  {holder}"])
    return 0


@lease_command.command("revoke", cls=Command, short_help="End one lease now.")
@click.argument("lease_id", metavar="ID")
@click.pass_obj
def revoke_command(settings: GlobalOptions, *, lease_id: str) -> int:
    """End the lease ID now, whichever process holds it; its pipeline must be in the spec.

    Example: strongroom lease revoke database/creds/app/6IqW2yTY
    """
    from strongroom.errors import SecretNotFoundError

    known = [(file, entry) for file, entry, _ in _entries() if entry.id == lease_id]
    if not known:
        raise SecretNotFoundError(
            lease_id, "no lease of that id is in the ledger", hint="`strongroom lease list` shows all"
        )
    with settings.registry() as registry:
        for file, entry in known:
            if entry.pipeline not in registry.pipelines():
                raise UsageError(
                    f"the lease belongs to the pipeline {entry.pipeline!r}, which the spec does not have",
                    hint=f"name the spec that it came from: --spec {entry.spec}",
                )
            if not entry.is_from(_issuer(registry, entry)):
                raise UsageError(
                    f"the lease belongs to a server that the pipeline {entry.pipeline!r} does not name",
                    hint=f"name the spec, and the profile, that it came from: --spec {entry.spec}",
                )
            _revoke(registry, entry)
            file.over(entry.id)
    if settings.json:
        output.as_json({"revoked": [lease_id]})
    return 0


@lease_command.command("sweep", cls=Command, short_help="Revoke what dead processes left behind.")
@click.pass_obj
def sweep_command(settings: GlobalOptions) -> int:  # noqa: C901  # a lease ends in one of four ways
    """Revoke the leases that dead processes left behind in the pipelines of the spec, and name the others.

    Leases of another server, such as another profile's, are among the others. Exits with 5 if one could not
    be revoked: it stays in the ledger.

    Example: strongroom lease sweep
    """
    from strongroom.errors import StrongroomError, UnsupportedOperationError
    from strongroom.leases import LeaseLedger
    from strongroom.leases.calls import is_revocable

    revoked: list[str] = []
    failed: list[str] = []
    left: list[LedgerEntry] = []
    now = datetime.now(UTC)
    with settings.registry() as registry:
        source, pipelines = registry.plan.location(), set(registry.pipelines())
        for file in LeaseLedger().files():
            with file.taken() as dead:
                if not dead:
                    continue
                staying = 0
                for entry in file.entries():
                    if entry.expires_at <= now:
                        continue  # it has ended by itself
                    known = entry.spec == source and entry.pipeline in pipelines
                    if not known or not entry.is_from(_issuer(registry, entry)):
                        left.append(entry)
                        staying += 1
                        continue
                    if not is_revocable(registry.pipeline(entry.pipeline), entry.as_lease()):
                        left.append(entry)
                        staying += 1
                        continue
                    try:
                        _revoke(registry, entry)
                    except UnsupportedOperationError:
                        left.append(entry)
                        staying += 1
                    except StrongroomError as error:
                        failed.append(entry.id)
                        staying += 1
                        settings.warn(f"{entry.id} is not revoked: {error}")
                    else:
                        file.over(entry.id)
                        revoked.append(entry.id)
                if not staying:
                    file.remove()
    if settings.json:
        output.as_json({"revoked": revoked, "failed": failed, "left": [entry.shown() for entry in left]})
    else:
        output.lines(
            [
                *(f"revoked {lease_id}" for lease_id in revoked),
                *(
                    f"left {one.id} of {one.spec}, pipeline {one.pipeline}, until {_until(one)}"
                    for one in left
                ),
            ]
        )
    return _UNAVAILABLE if failed else 0


def _entries() -> Iterator[tuple[LeaseFile, LedgerEntry, bool]]:
    from strongroom.leases import LeaseLedger

    for file in LeaseLedger().files():
        alive = file.alive()
        for entry in file.entries():
            yield file, entry, alive


def _issuer(registry: SecretProviderRegistry, entry: LedgerEntry) -> str:
    from strongroom.leases.ledger import issuer_of

    return issuer_of(registry.pipeline(entry.pipeline))


def _revoke(registry: SecretProviderRegistry, entry: LedgerEntry) -> None:
    from strongroom.errors import UnsupportedOperationError
    from strongroom.providers import LeaseProvider
    from strongroom.tenancy import TenantContext

    pipeline = registry.pipeline(entry.pipeline)
    if not isinstance(pipeline, LeaseProvider):
        raise UnsupportedOperationError(f"the pipeline {entry.pipeline!r} issues no leases")
    with TenantContext(entry.tenant) if entry.tenant is not None else nullcontext():
        # Hooks see the key that they saw when the lease was issued.
        asked = registry.asked_as(entry.pipeline, entry.key)
        pipeline.run_with_hooks("revoke", asked, lambda: pipeline.inner.revoke_lease(entry.as_lease()))


def _until(entry: LedgerEntry) -> str:
    return output.moment(entry.expires_at, timespec="seconds")
