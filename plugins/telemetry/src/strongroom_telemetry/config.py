"""The options of the hook `telemetry`."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["TelemetryConfig"]


class TelemetryConfig(BaseModel):
    """Options of the hook `telemetry`."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, defer_build=True)

    keys: Literal["none", "hashed"] = Field(
        default="none",
        description="What spans say of keys: nothing, or a keyed hash. Metrics never have a key.",
    )
    hash_key: str | None = Field(
        default=None,
        min_length=16,
        repr=False,
        description="The key of that hash, so that processes write the same; else one of the process.",
    )
    due_seconds: float = Field(
        default=60,
        ge=1,
        description="For how long a count of the rotations that are due is good, in seconds.",
    )
