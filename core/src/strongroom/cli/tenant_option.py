"""Whether `--tenant` means anything to the pipelines that a command asks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from strongroom.cli.errors import UsageError

if TYPE_CHECKING:
    from strongroom.spec.plan import Plan

__all__ = ["refuse_heedless"]

_HEED = frozenset({("middleware", "tenant"), ("middleware", "encryption")})
# A stranger's component may ask for the tenant; of those that we ship no other does.
_HEEDLESS = frozenset({"caching", "prefix", "read-only", "retry", "validation", "audit"})


def refuse_heedless(plan: Plan, pipelines: Iterable[str] = ()) -> None:
    """Raise `UsageError` unless one of `pipelines`, or where none are given of all routed ones, heeds it."""
    asked: list[str | None] = [*pipelines]
    if not asked:
        asked = [plan.default, *(route.pipeline for route in plan.routes)]
    used = {name for one in asked if one is not None for name in plan.used_by(one)}
    parts = [part for name in used for part in plan.pipelines[name].components()]
    if not any(_heeds(part.kind, part.type) for part in (*parts, *plan.hooks)):
        told = ", ".join(sorted(used)) or "the store"
        raise UsageError(
            f"--tenant means nothing here: nothing in {told} keeps tenants apart",
            hint="leave it out, or put `{type: tenant}` into the pipeline's middleware",
        )


def _heeds(kind: str, name: str) -> bool:
    from strongroom.plugins.known import KNOWN_TYPES

    shipped = name in _HEEDLESS or any(name in types for types in KNOWN_TYPES.values())
    return (kind, name) in _HEED or not shipped
