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
        description="What spans say about keys: nothing, or a keyed hash. Metrics never have a key.",
    )
    hash_key: str | None = Field(
        default=None,
        min_length=16,
        repr=False,
        description="The key of that hash, the same for all processes; by default a key of the process.",
    )
    due_seconds: float = Field(
        default=60,
        ge=1,
        description="Seconds for which a count of due rotations is reused.",
    )
