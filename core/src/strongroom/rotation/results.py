"""What a rotation tells."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

__all__ = ["RotationResult", "RotationState", "RotationStatus"]

RotationState = Literal["pending", "applied", "verified", "current", "rolled_back", "unknown"]


@dataclass(frozen=True, slots=True)
class RotationResult:
    """How a rotation, a resumption or a rollback ended.

    Attributes:
        key: The secret.
        state: `current` where the new value is the one that readers get, `rolled_back` where the old one is
            again; `pending`, `applied` or `verified` where it is still in flight.
        old_version: The version before, where the backend has versions.
        new_version: The version that was made, likewise.
        rotated_at: When readers began to get the new value, aware; None before.
    """

    key: str
    state: RotationState
    old_version: str | None = None
    new_version: str | None = None
    rotated_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class RotationStatus:
    """Where a secret stands.

    Attributes:
        key: The secret.
        state: `current` where no rotation is in flight, `unknown` where that cannot be told.
        version: The version that readers get, where the backend has versions.
        rotated_at: When it was written, where the backend tells that.
        due_at: When it is to be rotated, likewise.
        last_error: What the last attempt failed with, never a value; None since one succeeded.
    """

    key: str
    state: RotationState
    version: str | None = None
    rotated_at: datetime | None = None
    due_at: datetime | None = None
    last_error: str | None = None
