"""Which secrets are leases: a search for their values would issue new ones, which nothing can hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from strongroom.cache.addresses import issues_leases
from strongroom.declarations.resolve import keys_of
from strongroom.errors import StrongroomError

if TYPE_CHECKING:
    from strongroom.registry import SecretProviderRegistry
    from strongroom.spec.secret_plan import SecretPlan

__all__ = ["is_leased", "without_leases"]


def is_leased(registry: SecretProviderRegistry, key: str) -> bool:
    """Return whether a read of `key` gives the values of a lease."""
    try:
        return issues_leases(registry.pipeline_for(key))
    except StrongroomError:  # the read says what is wrong
        return False


def without_leases(
    registry: SecretProviderRegistry, chosen: Mapping[str, SecretPlan]
) -> dict[str, SecretPlan]:
    """Return the declarations in `chosen` that are neither read from a lease nor composed of one."""
    return {
        name: plan
        for name, plan in chosen.items()
        if not any(is_leased(registry, key) for key in keys_of(registry.plan, {name: plan}))
    }
