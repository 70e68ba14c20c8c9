"""Declared names whose key was changed in the spec while the value is still at the old place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom.cli.command_lines import line_about
from strongroom.cli.declared.names import stored
from strongroom.cli.declared.sightings import where_it_was_seen
from strongroom.declarations.json_fields import member_of
from strongroom.errors import SecretNotFoundError, ValidationError, show_key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from strongroom.declarations.resolution import Resolution
    from strongroom.registry import SecretProviderRegistry
    from strongroom.spec.remembered_names import Place
    from strongroom.spec.secret_plan import SecretPlan

__all__ = ["moved"]


def moved(registry: SecretProviderRegistry, resolutions: Mapping[str, Resolution]) -> dict[str, Resolution]:
    """Return those of `resolutions` whose value is still at an earlier place of the name, as missing.

    Args:
        registry: Asked for the earlier keys of the names that have no value.
        resolutions: Secrets as `resolve_all` returned them.
    """
    marked = {name: _marked(registry, one) for name, one in resolutions.items()}
    return {name: one for name, one in marked.items() if one is not None}


def _marked(registry: SecretProviderRegistry, one: Resolution) -> Resolution | None:
    plan = one.plan
    # With `generate`, a value would be made for an optional secret, too.
    may_be_made = one.status == "ok" and one.text is None and plan.generate is not None
    if plan.compose is not None or one.is_gone or not (one.status == "missing" or may_be_made):
        return None
    still = _at_another_key(registry, plan) or where_it_was_seen(registry, plan)
    if still is None:
        return None
    if plan.generate is not None and plan.field is None:
        still += f", {line_about(registry, plan.key, 'set', '--key', plan.key, '--generate')} makes a new one"
    return one._replace(
        status="missing",
        problem=f"missing: nothing is stored at {show_key(plan.key)}; the value that {plan.name} had {still}",
        error=one.error or SecretNotFoundError(plan.key),
    )


def _at_another_key(registry: SecretProviderRegistry, plan: SecretPlan) -> str | None:
    before = _before(registry, plan)
    if before is None:
        return None
    where = show_key(before.key)
    if before.field is not None:
        return f"is still the member {before.field!r} of {where}: store it here as well"
    return f"is still at {where}: {line_about(registry, plan.key, 'mv', before.key, plan.key)} moves it"


def _before(registry: SecretProviderRegistry, plan: SecretPlan) -> Place | None:
    """Return the earlier place of a declared name that still has a value, and is of no other name."""
    from strongroom.spec.remembered_names import former_places

    taken = {(one.key, one.field) for one in registry.plan.secrets.values()}
    whole = {one.key for one in registry.plan.secrets.values() if one.field is None}
    for place in former_places(registry.plan.source, registry.plan.profile, plan):
        if place in taken or place.key in whole:
            continue
        try:
            value = stored(registry, place.key)
            if value is not None and place.field is not None:
                member_of(value, place.key, place.field)
        except (SecretNotFoundError, ValidationError):  # deleted, or another secret by now
            continue
        if value is not None:
            return place
    return None
