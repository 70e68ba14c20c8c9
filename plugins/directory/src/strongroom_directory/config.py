"""The options of `type: directory`."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["DirectoryConfig"]


class DirectoryConfig(BaseModel):
    """Options of `type: directory`."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, defer_build=True)

    path: Path = Field(description="The folder; each file in it is a secret.")
    writable: bool = Field(default=False, description="Whether secrets may be set and deleted.")
    suffix: str = Field(
        default="",
        pattern=r"^[^/\x00-\x1f]*$",
        max_length=64,
        description="A suffix of file names that keys lack, such as .txt; other files are left out.",
    )
    timeout: float = Field(
        default=10.0, gt=0, description="Seconds that a write waits for the writes of other processes."
    )
