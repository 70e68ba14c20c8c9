"""Which secrets are leases: a search for their values would issue new ones, which nothing can hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from strongroom.cache.addresses import issues_leases
from strongroom.declarations.resolve import keys_of
from strongroom.errors import StrongroomError, UnsupportedOperationError, show_key

if TYPE_CHECKING:
    from strongroom.pipeline import Pipeline
    from strongroom.registry import SecretProviderRegistry
    from strongroom.spec.secret_plan import SecretPlan

__all__ = ["is_leased", "refuse_writes", "without_leases"]


def is_leased(registry: SecretProviderRegistry, key: str) -> bool:
    """Return whether a read of `key` gives the values of a lease."""
    try:
        return issues_leases(registry.pipeline_for(key))
    except StrongroomError:  # the read says what is wrong
        return False


def refuse_writes(pipeline: Pipeline, key: str | None = None) -> None:
    """Refuse to store or delete `key` if its pipeline issues leases, before one is issued to be looked at.

    Raises:
        UnsupportedOperationError: Its pipeline issues leases.
    """
    if issues_leases(pipeline, written=True):
        what = f"{pipeline.name} issues leases" if key is None else f"{show_key(key)} is a lease"
        raise UnsupportedOperationError(
            f"{what}: nothing is stored or deleted there",
            key=key,
            pipeline=pipeline.name,
            hint="`strongroom lease revoke` ends one",
        )


def without_leases(
    registry: SecretProviderRegistry, chosen: Mapping[str, SecretPlan]
) -> dict[str, SecretPlan]:
    """Return the declarations in `chosen` that are neither read from a lease nor composed of one."""
    return {
        name: plan
        for name, plan in chosen.items()
        if not any(is_leased(registry, key) for key in keys_of(registry.plan, {name: plan}))
    }
