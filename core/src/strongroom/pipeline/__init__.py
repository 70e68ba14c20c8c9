"""A pipeline: middleware around a provider, with hooks that see every operation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom._lazy import lazy_exports

if TYPE_CHECKING:
    from strongroom.pipeline.pipeline import (
        Pipeline,
        actor,
        as_operation,
        check_user_key,
        outcome_of,
        read_many,
    )

__all__ = [
    "Pipeline",
    "actor",
    "as_operation",
    "check_user_key",
    "outcome_of",
    "read_many",
]

_HOMES = {
    "Pipeline": "pipeline",
    "actor": "pipeline",
    "as_operation": "pipeline",
    "check_user_key": "pipeline",
    "outcome_of": "pipeline",
    "read_many": "pipeline",
}

__getattr__, __dir__ = lazy_exports(__name__, _HOMES)
