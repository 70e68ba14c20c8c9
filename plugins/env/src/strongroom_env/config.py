from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["EnvConfig"]


class EnvConfig(BaseModel):
    """Options of `type: env`."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, defer_build=True)

    prefix: str = Field(
        default="APP_SECRET_", description="The beginning of all variables' names, without '=' and NUL."
    )
