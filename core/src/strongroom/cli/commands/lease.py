"""`strongroom lease`: list and revoke the leases of running and dead processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class _Swept:
    """The ids of the leases that were revoked, of those that could not be, and the leases that were left."""

    revoked: list[str]
    failed: list[str]
    left: list[LedgerEntry]


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
    _warn_of_unread(settings)
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
        _warn_of_unread(settings)  # it may be there
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
            _note_over(file, entry, settings.warn)
    if settings.json:
        output.as_json({"revoked": [lease_id]})
    return 0


@lease_command.command("sweep", cls=Command, short_help="Revoke what dead processes left behind.")
@click.pass_obj
def sweep_command(settings: GlobalOptions) -> int:
    """Revoke the leases that dead processes left behind in the pipelines of the spec, and name the others.

    Leases of another server, such as another profile's, are among the others. Exits with 5 if one could not
    be revoked, or not be read: it stays in the ledger.

    Example: strongroom lease sweep
    """
    from strongroom.leases import LeaseLedger

    swept = _Swept([], [], [])
    with settings.registry() as registry:
        for file in LeaseLedger().files():
            with file.taken() as dead:
                if dead and not _staying(file, registry, swept, settings.warn) and not file.has_unread():
                    file.remove()
    unread = _warn_of_unread(settings)
    if settings.json:
        left = [entry.shown() for entry in swept.left]
        output.as_json({"revoked": swept.revoked, "failed": swept.failed, "left": left})
    else:
        output.lines(
            [
                *(f"revoked {lease_id}" for lease_id in swept.revoked),
                *(
                    f"left {one.id} of {one.spec}, pipeline {one.pipeline}, until {_until(one)}"
                    for one in swept.left
                ),
            ]
        )
    return _UNAVAILABLE if swept.failed or unread else 0


def _staying(
    file: LeaseFile, registry: SecretProviderRegistry, swept: _Swept, warn: Callable[[str], None]
) -> int:
    """Sweep the leases of one dead process, and return how many of them stay in its file."""
    from strongroom.errors import show_error

    staying = 0
    now = datetime.now(UTC)
    for entry in file.entries():
        if entry.expires_at <= now:
            continue  # it has ended by itself
        try:
            revoked = _revoke_own(registry, entry)
        except Exception as error:  # noqa: BLE001  # a hook may veto with any; it must not keep the others
            staying += 1
            swept.failed.append(entry.id)
            warn(f"{entry.id} is not revoked: {show_error(error)}")
            continue
        if revoked:
            _note_over(file, entry, warn)
            swept.revoked.append(entry.id)
        else:
            staying += 1
            swept.left.append(entry)
    return staying


def _note_over(file: LeaseFile, entry: LedgerEntry, warn: Callable[[str], None]) -> None:
    """Note that a lease is revoked; warn if that cannot be written, as to a full disk."""
    try:
        file.over(entry.id)
    except OSError as error:
        warn(
            f"{entry.id} is revoked, which cannot be noted in {file.path} ({error.strerror}); "
            "`lease list` may show it until it would have ended"
        )


def _revoke_own(registry: SecretProviderRegistry, entry: LedgerEntry) -> bool:
    """Revoke a lease of the spec's; return False if it is another's, or cannot be revoked at all."""
    from strongroom.errors import UnsupportedOperationError
    from strongroom.leases.calls import is_revocable

    if entry.pipeline not in registry.pipelines() or not entry.is_of(registry.plan.location()):
        return False
    if not entry.is_from(_issuer(registry, entry)):
        return False
    if not is_revocable(registry.pipeline(entry.pipeline), entry.as_lease()):
        return False
    try:
        _revoke(registry, entry)
    except UnsupportedOperationError:
        return False
    return True


def _warn_of_unread(settings: GlobalOptions) -> bool:
    """Warn of files of the ledger that cannot be read as a whole, and return whether there are any."""
    from strongroom.leases import LeaseLedger

    unread = [file.path for file in LeaseLedger().files() if file.has_unread()]
    for path in unread:
        settings.warn(
            f"leases in {path} cannot be read: this user may not read it, or they were noted under another "
            "ledger.key, which you can put back, or by an earlier version for a tenant, which you can name "
            "by --tenant; or remove the file after they have ended"
        )
    return bool(unread)


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
    from strongroom.errors import SecretNotFoundError, UnsupportedOperationError
    from strongroom.providers import LeaseProvider
    from strongroom.tenancy import TenantContext

    pipeline = registry.pipeline(entry.pipeline)
    if not isinstance(pipeline, LeaseProvider):
        raise UnsupportedOperationError(f"the pipeline {entry.pipeline!r} issues no leases")
    tenant = TenantContext(entry.tenant) if entry.tenant is not None else nullcontext()
    with tenant, suppress(SecretNotFoundError):  # it has ended
        # Hooks see the key that they saw when the lease was issued.
        asked = registry.asked_as(entry.pipeline, entry.key)
        pipeline.run_with_hooks("revoke", asked, lambda: pipeline.inner.revoke_lease(entry.as_lease()))


def _until(entry: LedgerEntry) -> str:
    return output.moment(entry.expires_at, timespec="seconds")
