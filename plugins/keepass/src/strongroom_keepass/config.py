from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["KeePassConfig"]


class KeePassConfig(BaseModel):
    """Options of `type: keepass`."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    path: Path = Field(description="The database, a .kdbx file; made on the first write.")
    password: str | None = Field(default=None, repr=False, description="Its master password.")
    key_file: Path | None = Field(default=None, description="Its key file.")
    field: str = Field(
        default="password",
        min_length=1,
        description="The field of entries that is the secret: password, username, url, notes, or another.",
    )
    timeout: float = Field(
        default=10.0, gt=0, description="Seconds that a write waits for the writes of other processes."
    )
