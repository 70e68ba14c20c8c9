"""The options of `type: pass`."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["PassConfig"]


class PassConfig(BaseModel):
    """Options of `type: pass`."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    path: Path | None = Field(
        default=None, description="The store; by default PASSWORD_STORE_DIR, or else ~/.password-store."
    )
    program: str | None = Field(
        default=None,
        min_length=1,
        description="pass or gopass, by name or path; by default the first that is installed.",
    )
    whole: bool = Field(default=False, description="The secret is the whole entry, not only its first line.")
    timeout: float = Field(default=10.0, gt=0, description="Seconds that one run of the program may take.")
