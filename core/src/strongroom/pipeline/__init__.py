"""A pipeline: middleware around a provider, with hooks that see every operation; work on whole stores."""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom._lazy import lazy_exports

if TYPE_CHECKING:
    from strongroom.pipeline.batch import (
        describe_many,
        read_many,
        refused_first,
        write_many,
    )
    from strongroom.pipeline.operations import (
        as_operation,
        check_user_key,
        outcome_of,
    )
    from strongroom.pipeline.pipeline import (
        Pipeline,
        actor,
    )

__all__ = [
    "Pipeline",
    "actor",
    "as_operation",
    "check_user_key",
    "describe_many",
    "outcome_of",
    "read_many",
    "refused_first",
    "write_many",
]

_HOMES = {
    "Pipeline": "pipeline",
    "actor": "pipeline",
    "as_operation": "operations",
    "check_user_key": "operations",
    "describe_many": "batch",
    "outcome_of": "operations",
    "read_many": "batch",
    "refused_first": "batch",
    "write_many": "batch",
}

__getattr__, __dir__ = lazy_exports(__name__, _HOMES)
