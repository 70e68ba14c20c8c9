"""`strongroom copy`."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import click

from strongroom.cli import completions, errors
from strongroom.cli.actions.transfer import Removed, move, read_each_now, report, unwrapped, value_now
from strongroom.cli.app import command
from strongroom.cli.declared.rotations import unfinished
from strongroom.cli.output import progress
from strongroom.cli.scanning.leased import refuse_writes
from strongroom.errors import InvalidKeyError, SecretNotFoundError, ValidationError, show_key

if TYPE_CHECKING:
    from strongroom.cli.context import GlobalOptions
    from strongroom.errors import StrongroomError
    from strongroom.pipeline import Pipeline
    from strongroom.providers import SecretProvider


_PROBE = "strongroom-probe-"
_PROBE_VALUE = "left by an interrupted `strongroom copy --delete-source`"


@command("copy")
@click.argument("source", metavar="SRC", shell_complete=completions.pipelines)
@click.argument("target", metavar="DST", shell_complete=completions.pipelines)
@click.option("--prefix", metavar="P", default="", help="Only the keys that begin with P.")
@click.option("--overwrite", is_flag=True, help="Replace values in DST that differ.")
@click.option("--delete-source", is_flag=True, help="Delete from SRC what was read back from DST.")
@click.option("--dry-run", is_flag=True, help="Show what would happen, and do nothing.")
def copy_command(
    settings: GlobalOptions,
    *,
    source: str,
    target: str,
    prefix: str,
    overwrite: bool,
    delete_source: bool,
    dry_run: bool,
) -> int:
    """Copy the secrets of pipeline SRC to pipeline DST, and read each back. Run it again to continue.

    A secret that cannot be read, such as a binary one of another tool, is named and left out; the others are
    copied, and the exit code is that of the first such error. With --delete-source, a secret that has changed
    in SRC or DST meanwhile, or whose rotation has not ended, is kept, and the exit code is 8.

    Example: strongroom copy app vault --dry-run
    """
    with settings.registry([source, target]) as registry:
        origin, destination = registry.pipeline(source), registry.pipeline(target)
        if source == target:
            raise errors.UsageError("SRC and DST are the same pipeline", hint="name two")
        refuse_writes(destination)
        if delete_source:
            refuse_writes(origin)
        keys = origin.list_secrets(prefix)
        if not keys:
            settings.warn(f"no key of {source} begins with {prefix!r}" if prefix else f"{source} is empty")
        values, failed = _read(origin, keys, past_caches=delete_source)
        left = [key for key in values if _is_probe(key, values[key])]
        for key in left:
            del values[key]
        plan = move(settings, values, destination, overwrite=overwrite, dry_run=dry_run)
        removed = Removed([], {})
        if delete_source and not dry_run and values:
            _refuse_shared(origin, destination, next(iter(values)))
            removed = _delete(values, origin, destination)
        if delete_source and not dry_run:
            _delete_probes(origin, left)
        settings.warn_of_leases(registry)
    for key, error in failed.items():
        settings.warn(f"{show_key(key)} is not copied: {error.message}")
    for key, reason in removed.kept.items():
        settings.warn(f"{show_key(key)} is not deleted from {source}: {reason}")
    removal = removed if delete_source else None
    report(settings, plan, dry_run=dry_run, removed=removal, source=source, failed=failed)
    if removed.kept:
        return errors.CONFLICT
    return next(map(errors.exit_code, failed.values()), 0)


def _read(
    origin: Pipeline, keys: Sequence[str], *, past_caches: bool
) -> tuple[dict[str, str], dict[str, StrongroomError]]:
    """Return the values of `keys`, and why others cannot be read, sorted.

    Raises:
        StrongroomError: None can be read.
    """
    own = read_each_now(unwrapped(origin), keys)[0] if past_caches else {}
    values, failed = read_each_now(origin, [key for key in keys if key not in own])
    values |= own
    if failed and not values:
        raise failed[min(failed)]
    return values, dict(sorted(failed.items()))


def _refuse_shared(origin: Pipeline, destination: Pipeline, key: str) -> None:
    """Refuse if DST reads SRC's store, directly or by a fallback.

    A key of ours beside `key` shows that: no secret is touched, and a crash leaves only that key behind.
    """
    folder = key.rpartition("/")[0]
    probe = f"{folder}/{_PROBE}" if folder else _PROBE
    probe += secrets.token_hex(8)
    source = unwrapped(origin)
    source.set_secret(probe, _PROBE_VALUE)
    try:
        shared = value_now(unwrapped(destination), probe) is not None or _reads(destination, probe)
    finally:
        source.delete_secret(probe)
    if shared:
        raise errors.UsageError(
            f"{destination.name} reads the store of {origin.name}; --delete-source would lose every secret",
            hint="nothing is deleted",
        )


def _is_probe(key: str, value: str) -> bool:
    return key.rpartition("/")[2].startswith(_PROBE) and value == _PROBE_VALUE


def _delete_probes(origin: Pipeline, probes: Iterable[str]) -> None:
    """Delete what interrupted calls have left; another call may be about to delete its own."""
    for probe in probes:
        with contextlib.suppress(SecretNotFoundError):
            unwrapped(origin).delete_secret(probe)


def _delete(values: Mapping[str, str], origin: Pipeline, destination: Pipeline) -> Removed:
    """Delete from `origin` each of `values` that both stores still hold right before."""
    source, copy = unwrapped(origin), unwrapped(destination)
    removed = Removed([], {})
    with progress("deleting") as advance:
        for done, (key, value) in enumerate(values.items(), 1):
            # SRC is asked last, to keep the time between that look and the deletion short.
            if value_now(copy, key) != value:
                removed.kept[key] = f"{destination.name} itself does not hold what was copied"
            elif (left := unfinished(origin, key)) is not None:
                removed.kept[key] = left.state
            elif (there := value_now(source, key)) is None:
                removed.kept[key] = "it is not there any more, or in another pipeline that SRC falls back to"
            elif there != value:
                removed.kept[key] = "it was changed after it was read"
            else:
                origin.delete_secret(key)
                removed.deleted.append(key)
            advance(done, len(values))
    return removed


def _reads(provider: SecretProvider, probe: str) -> bool:
    """Return whether `provider` has `probe` anywhere; no cache can know it yet."""
    with contextlib.suppress(ValidationError, InvalidKeyError):  # rules are for the application's keys
        return value_now(provider, probe) is not None
    return False
