"""The event that hooks see."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any, Literal

from strongroom.runtime.forks import renew_after_fork
from strongroom.runtime.frozen import frozen

__all__ = ["Outcome", "SecretEvent", "Source"]

Outcome = Literal["ok", "not_found", "denied", "error", "vetoed"]
Source = Literal["backend", "l1", "l2", "stale"]


@frozen
class SecretEvent:
    """One operation on one secret; never its value.

    Attributes:
        id: The same for the `before` and `after` of one operation, unique to it.
        operation: `get`, `set`, `delete`, `list`, `describe`, `history`, `stage`, `promote`, `discard`,
            `rotate`; `watch` and `change` of watched secrets; `issue`, `renew` and `revoke` of leases; or,
            for the whole store, `backup`, `restore`, `rekey`.
        key: The key as the caller gave it; for a list, its prefix; for an operation on the whole store, "".
        pipeline: The pipeline that answers.
        tenant: The tenant that is active, if any.
        actor: The client of `strongroom serve`; or else what `STRONGROOM_ACTOR` claims, or else the system's
            user.
        started_at: When the operation began, aware and in UTC.
        duration: Seconds; None before the operation.
        outcome: None before the operation.
        source: Where the value came from; None if no value was read.
        error_type: The class name of the error, if there was one.
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


class _Draft:
    """An event whose members can still be set, at the speed of plain slots: two are on every audited read.

    It has the same slots, so that it becomes an event when its class is set.
    """

    __slots__ = SecretEvent.__match_args__


# The setters of a frozen event's slots, past the `__setattr__` that refuses.
_put_duration, _put_outcome, _put_source, _put_error_type = (
    getattr(SecretEvent, name).__set__ for name in ("duration", "outcome", "source", "error_type")
)

_ID_BYTES, _IDS_AT_ONCE = 16, 64


class _Ids(list[str]):
    """Ids that were drawn ahead, many at once, since each draw is a call to the system."""

    def draw(self) -> str:
        """Draw more of them, and return one."""
        digits, size = os.urandom(_ID_BYTES * _IDS_AT_ONCE).hex(), 2 * _ID_BYTES
        self.extend([digits[at : at + size] for at in range(size, len(digits), size)])
        return digits[:size]


_now = datetime.now
_ids = _Ids()
renew_after_fork(_ids, _Ids.clear)


def start_event(
    operation: str, key: str, pipeline: str | None, tenant: str | None, actor: str
) -> SecretEvent:
    """Return the event of an operation that begins now."""
    draft: Any = _Draft()
    try:
        draft.id = _ids.pop()
    except IndexError:
        draft.id = _ids.draw()
    draft.operation = operation
    draft.key = key
    draft.pipeline = pipeline
    draft.tenant = tenant
    draft.actor = actor
    draft.started_at = _now(UTC)
    draft.duration = draft.outcome = draft.source = draft.error_type = None
    draft.__class__ = SecretEvent
    return draft  # type: ignore[no-any-return]  # it is an event now


def finish_event(
    event: SecretEvent,
    duration: float,
    outcome: Outcome,
    source: Source | None,
    error_type: str | None,
    *,
    copy: bool,
) -> SecretEvent:
    """Return `event` as it is after the operation.

    Args:
        event: As it was before.
        duration: Seconds.
        outcome: How it ended.
        source: Where the value came from.
        error_type: The class name of the error.
        copy: Return a copy, because a hook may have kept `event`; otherwise `event` itself is filled in.
    """
    if copy:
        event = SecretEvent(
            event.id,
            event.operation,
            event.key,
            event.pipeline,
            event.tenant,
            event.actor,
            event.started_at,
        )
    fill_in_event(event, duration, outcome, source, error_type)
    return event


def fill_in_event(
    event: SecretEvent, duration: float, outcome: Outcome, source: Source | None, error_type: str | None
) -> None:
    """Set what is known after the operation in `event` itself, which no hook may have kept."""
    _put_duration(event, duration)
    _put_outcome(event, outcome)
    _put_source(event, source)
    _put_error_type(event, error_type)
