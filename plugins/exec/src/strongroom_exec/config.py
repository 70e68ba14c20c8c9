"""The options of `type: exec`."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["ExecConfig"]


class ExecConfig(BaseModel):
    """Options of `type: exec`."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, defer_build=True)

    command: list[str] = Field(
        min_length=1,
        description="The program and its arguments, which others on this machine can read: no secrets. A "
        "name with a slash is relative to `folder`, any other is looked up in PATH.",
    )
    timeout: float = Field(default=10.0, gt=0, description="Seconds that one request may take.")
    folder: Path = Field(default=Path(), description="Where it runs; by default the folder of the spec.")
