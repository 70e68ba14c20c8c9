"""The options of `type: memory`."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["MemoryConfig"]


class MemoryConfig(BaseModel):
    """Options of `type: memory`."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, defer_build=True)

    secrets: dict[str, str] | None = Field(
        default=None, repr=False, description="Secrets that are there from the start, value by key."
    )
    max_versions: int = Field(
        default=100, ge=1, description="Versions kept of each secret; the oldest are dropped."
    )
