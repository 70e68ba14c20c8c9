"""The results of a rotation."""

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
        state: `current` if readers get the new value, `rolled_back` if they get the old one again; `pending`,
            `applied` or `verified` if the rotation is still in flight.
        old_version: The previous version, if the backend has versions.
        new_version: The new version, likewise.
        rotated_at: When readers began to get the new value, aware; None before.
    """

    key: str
    state: RotationState
    old_version: str | None = None
    new_version: str | None = None
    rotated_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class RotationStatus:
    """The state of a secret's rotation.

    Attributes:
        key: The secret.
        state: `current` if no rotation is in flight, `unknown` if that cannot be found out.
        version: The version that readers get, if the backend has versions.
        rotated_at: When it was written, if the backend says so.
        due_at: When it is due for rotation, likewise.
        last_error: The error of the last attempt, never with a value; None after a success.
    """

    key: str
    state: RotationState
    version: str | None = None
    rotated_at: datetime | None = None
    due_at: datetime | None = None
    last_error: str | None = None
