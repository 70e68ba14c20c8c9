"""The event that hooks see, and the base class of hooks."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Literal

__all__ = ["Outcome", "SecretEvent", "SecretHook", "Source", "report_source"]

Outcome = Literal["ok", "not_found", "denied", "error", "vetoed"]
Source = Literal["backend", "l1", "l2", "stale"]


@dataclass(frozen=True, slots=True)
class SecretEvent:
    """One operation on one secret; never its value.

    Attributes:
        id: The same for the `before` and `after` of one operation, unique to it.
        operation: `get`, `set`, `delete`, `list`, `describe`, `history`, `stage`, `promote`, `discard` or
            `rotate`.
        key: The key as the caller gave it; of a list its prefix.
        pipeline: The pipeline that answers.
        tenant: The tenant that is active, if any.
        actor: What `STRONGROOM_ACTOR` claims, else the operating system's user.
        started_at: When the operation began, aware and in UTC.
        duration: Seconds; None before the operation.
        outcome: None before the operation.
        source: Where the value came from; None where no value was read.
        error_type: The class name of the error, where there was one.
    """

    id: str
    operation: str
    key: str
    pipeline: str | None
    tenant: str | None
    actor: str
    started_at: datetime
    duration: float | None = None
    outcome: Outcome | None = None
    source: Source | None = None
    error_type: str | None = None


class SecretHook:
    """Sees every operation. Both methods do nothing; override either."""

    audit: ClassVar[bool] = False
    """Audit hooks are entered before all others, so that they also record what others veto."""

    def before(self, event: SecretEvent) -> None:
        """See an operation about to run; raising vetoes it, and the caller gets that exception."""

    def after(self, event: SecretEvent) -> None:
        """See how it ended: once for each `before` that was entered, also one that raised."""


class Observation:
    """Where a middleware notes what the caller got, for the event of the operation under way."""

    __slots__ = ("source",)

    def __init__(self) -> None:
        self.source: Source | None = None


observation: ContextVar[Observation | None] = ContextVar("strongroom_observation", default=None)


def report_source(source: Source) -> None:
    """Say where the value of the read under way came from; caches call it. Without hooks it does nothing."""
    current = observation.get()
    if current is not None:
        current.source = source
