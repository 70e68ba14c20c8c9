"""The options of `file` and `file.cache`; importing this needs neither sqlite3 nor cryptography."""

# Annotations are not kept as text here: pydantic would compile each by itself.

from pathlib import Path
from typing import ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = ["FileCacheConfig", "FileConfig"]


class FileConfig(BaseModel):
    """One encrypted file on this machine."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, defer_build=True)

    file_path: Path = Field(description="The store; made on the first write.")
    encryption_key: str | None = Field(
        default=None,
        repr=False,
        description="A key of `strongroom keygen`, a Fernet key, or a passphrase. Without it and without "
        "key_file: the variable STRONGROOM_ENCRYPTION_KEY.",
    )
    key_file: Path | None = Field(
        default=None, description="A file that holds the key; the first write makes it if the store is new."
    )
    older_keys: tuple[str, ...] = Field(
        default=(),
        repr=False,
        description="Keys that also open the store, until a rekey has replaced them.",
    )
    max_versions: int = Field(
        default=100, ge=1, le=1000, description="Versions kept of each secret; the oldest are dropped."
    )
    timeout: float = Field(
        default=60.0, gt=0, description="Seconds that a write waits for the writes of other processes."
    )

    rules_of_structure: ClassVar[frozenset[str]] = frozenset({"_one_key"})
    """Rules that are about what is given, and not about what a text says."""

    @model_validator(mode="after")
    def _one_key(self) -> Self:
        if self.encryption_key is not None and self.key_file is not None:
            message = "both encryption_key and key_file are given; leave one of them out"
            raise ValueError(message)
        return self


class FileCacheConfig(BaseModel):
    """A cache that the processes of this machine share."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, defer_build=True)

    path: Path = Field(description="The file; made at the first use.")
    max_entries: int = Field(
        default=10_000, ge=1, description="Entries kept; those that expire first are dropped first."
    )
    timeout_seconds: float = Field(
        default=0.4, gt=0, description="Seconds that one call waits for other processes and threads."
    )
