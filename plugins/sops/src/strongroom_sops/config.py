"""The options of `type: sops`."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["SopsConfig"]


class SopsConfig(BaseModel):
    """Options of `type: sops`."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    path: Path = Field(description="The file: .yaml, .yml, .json or .env, which decides its format.")
    sops: str = Field(default="sops", min_length=1, description="The program: a name in PATH, or its path.")
    environment: dict[str, str] | None = Field(
        default=None,
        repr=False,
        description="Variables that the program gets besides those of this process, such as SOPS_AGE_KEY.",
    )
    timeout: float = Field(default=10.0, gt=0, description="Seconds that one run of the program may take.")
