from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["PassConfig"]


class PassConfig(BaseModel):
    """Options of `type: pass`."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    path: Path | None = Field(
        default=None, description="The store; else PASSWORD_STORE_DIR, else ~/.password-store."
    )
    program: str | None = Field(
        default=None,
        min_length=1,
        description="pass or gopass, by name or path; else the first that is there.",
    )
    whole: bool = Field(
        default=False, description="The whole of an entry is the secret, and not its first line alone."
    )
    timeout: float = Field(default=10.0, gt=0, description="Seconds that one run of the program may take.")
