"""`strongroom diff`."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import click

from strongroom.cache.addresses import issues_leases
from strongroom.cli import completions, errors, output
from strongroom.cli.actions.transfer import read_each
from strongroom.cli.app import command
from strongroom.cli.scanning.leased import is_leased, without_leases
from strongroom.declarations.resolve import resolve_all
from strongroom.errors import PermissionDeniedError, SecretNotFoundError, StrongroomError, show_key

if TYPE_CHECKING:
    from strongroom.cli.context import GlobalOptions
    from strongroom.providers import SecretProvider
    from strongroom.registry import SecretProviderRegistry


_NO_PROFILE = "-"
_LEASE = "a lease"


class Side(NamedTuple):
    """One side: values by name, the status of secrets that cannot be compared, and why the first cannot."""

    values: Mapping[str, str]
    unknown: Mapping[str, str]
    why: str | None = None


@command("diff")
@click.argument("left", metavar="LEFT", shell_complete=completions.pipelines)
@click.argument("right", metavar="RIGHT", shell_complete=completions.pipelines)
@click.option("--prefix", metavar="P", default="", help="Only the keys, or names, that begin with P.")
@click.option(
    "--profiles", is_flag=True, help="LEFT and RIGHT are profiles, even if pipelines have these names."
)
@click.option("--all", "everything", is_flag=True, help="Also show what is the same.")
def diff_command(
    settings: GlobalOptions, *, left: str, right: str, prefix: str, profiles: bool, everything: bool
) -> int:
    """Compare the secrets of two pipelines, or what two profiles make of the declared secrets.

    No value is shown. As a profile, - means the spec without one. If the spec declares no secrets, all keys
    of two profiles are compared. Exits with 7 if anything differs or cannot be compared.

    Example: strongroom diff app vault
    """
    plan = settings.plan()
    by_profile = profiles or not {left, right} <= set(plan.pipelines)
    if by_profile and not profiles and {left, right} & set(plan.pipelines):
        lone = left if left in plan.pipelines else right
        raise errors.UsageError(
            f"{show_key(lone)} is a pipeline, and {show_key(right if lone == left else left)} is not",
            hint=f"name two pipelines, or two profiles; the pipelines are: {', '.join(plan.pipelines)}",
        )
    sides = [_of_profile(settings, one, prefix) for one in (left, right)] if by_profile else []
    if not by_profile:
        with settings.registry([left, right]) as registry:
            sides = [_of_pipeline(registry, one, prefix) for one in (left, right)]
    comparison = _compared(*sides, names=(left, right))
    for name, side in zip((left, right), sides, strict=True):
        if side.why is not None:
            settings.warn(f"not everything can be compared {_in(name)}: {side.why}")
    differs = any(what != "same" for what in comparison.values())
    if settings.json:
        output.as_json({"left": left, "right": right, "profiles": by_profile, "secrets": comparison})
    elif shown := [[name, what] for name, what in comparison.items() if everything or what != "same"]:
        output.table(["name" if by_profile else "key", "what"], shown)
    else:
        output.lines([_all_same(len(comparison))])
    return errors.FOUND_SOMETHING if differs else 0


def _all_same(count: int) -> str:
    if count == 0:
        return "neither has a secret"
    return "1 secret, and it is the same" if count == 1 else f"{count} secrets, and all are the same"


def _of_pipeline(registry: SecretProviderRegistry, name: str, prefix: str) -> Side:
    pipeline = registry.pipeline(name)
    keys = pipeline.list_secrets(prefix)
    if issues_leases(pipeline):
        return Side({}, dict.fromkeys(keys, _LEASE))
    return _read(pipeline, keys)


def _read(source: SecretProvider, keys: Sequence[str]) -> Side:
    """Return the side of `keys`; a binary secret, or one that is refused, does not keep others from it.

    Raises:
        StrongroomError: None of them can be read.
    """
    values, failed = read_each(source, keys)
    if failed and not values:
        raise failed[min(failed)]
    unknown = {key: _status(error) for key, error in failed.items()}
    why = next((error.message for error in failed.values()), None)
    return Side(values, unknown, why)


def _status(error: StrongroomError) -> str:
    if isinstance(error, SecretNotFoundError):
        return error.reason
    return "denied" if isinstance(error, PermissionDeniedError) else "invalid"


def _of_profile(settings: GlobalOptions, profile: str, prefix: str) -> Side:
    own = copy.copy(settings)
    own.profile = None if profile == _NO_PROFILE else profile
    if own.profile is None and os.environ.get("STRONGROOM_PROFILE"):
        raise errors.UsageError(
            f"{_NO_PROFILE} is the spec without a profile, and STRONGROOM_PROFILE names one", hint="unset it"
        )
    with own.registry() as registry:
        if not registry.plan.secrets:
            keys = registry.list_secrets(prefix)
            leased = [key for key in keys if is_leased(registry, key)]
            side = _read(registry, [key for key in keys if key not in leased])
            return side._replace(unknown={**side.unknown, **dict.fromkeys(leased, _LEASE)})
        chosen = {name: one for name, one in registry.plan.secrets.items() if name.startswith(prefix)}
        read = without_leases(registry, chosen)
        resolutions = resolve_all(registry, read)
    values = {name: one.text for name, one in resolutions.items() if one.text is not None}
    unknown: dict[str, str] = {
        name: one.status
        for name, one in resolutions.items()
        if one.text is None and one.status not in {"missing", "ok"}
    }
    why = next((f"{name}: {resolutions[name].problem}" for name in unknown), None)
    return Side(values, {**unknown, **dict.fromkeys(chosen.keys() - read.keys(), _LEASE)}, why)


def _in(name: str) -> str:
    return "without a profile" if name == _NO_PROFILE else f"in {name}"


def _compared(left: Side, right: Side, *, names: tuple[str, str]) -> dict[str, str]:
    """Return the result for each name, sorted."""
    comparison = {}
    for name in sorted({*left.values, *right.values, *left.unknown, *right.unknown}):
        reason = [
            f"{side.unknown[name]} {_in(of)}"
            for side, of in zip((left, right), names, strict=True)
            if name in side.unknown
        ]
        if left.unknown.get(name) == right.unknown.get(name) == _LEASE:
            comparison[name] = "same"  # no two leases have the same values
        elif reason:
            comparison[name] = ", ".join(reason)
        elif name not in right.values:
            comparison[name] = f"only {_in(names[0])}"
        elif name not in left.values:
            comparison[name] = f"only {_in(names[1])}"
        else:
            comparison[name] = "same" if left.values[name] == right.values[name] else "differs"
    return comparison
