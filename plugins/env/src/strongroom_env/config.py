"""The options of `type: env`."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, field_validator

__all__ = ["EnvConfig"]


class EnvConfig(BaseModel):
    """Options of `type: env`."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, defer_build=True)

    prefix: str = Field(
        default="APP_SECRET_", description="The beginning of all variables' names; not '=' and NUL."
    )

    @field_validator("prefix")
    @classmethod
    def _begins_a_name(cls, prefix: str) -> str:
        if "=" in prefix or "\0" in prefix:
            message = "it cannot begin a variable's name; use letters, digits and '_', as in APP_SECRET_"
            raise ValueError(message)
        return prefix
