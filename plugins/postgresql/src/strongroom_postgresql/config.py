"""The options of `type: postgresql`; importing this needs neither psycopg nor cryptography."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["PostgreSQLConfig"]


class PostgreSQLConfig(BaseModel):
    """The constructor's parameters of `PostgreSQLSecretProvider`."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, defer_build=True)

    url: str = Field(
        pattern=r"^postgres(ql)?://",
        repr=False,
        description="A connection URI of libpq, such as postgresql://user@host:5432/database?sslmode="
        "verify-full; several hosts are separated by commas.",
    )
    username: str | None = Field(default=None, description="The role; by default the URL's.")
    password: str | None = Field(default=None, repr=False, description="Its password; by default the URL's.")
    db_schema: str = Field(
        default="strongroom",
        alias="schema",
        pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}$",
        description="The schema that holds the tables; the first write makes it if the role may.",
    )
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
        default=(), repr=False, description="Keys that also open the store, until a rekey has replaced them."
    )
    max_versions: int = Field(
        default=100, ge=1, le=1000, description="Versions kept of each secret; the oldest are dropped."
    )
    destroy_on_delete: bool = Field(default=False, description="Delete for good, with all versions.")
    timeout: float = Field(default=10.0, gt=0, description="Seconds for one get, set, delete or page.")
    deadline: float | None = Field(default=None, gt=0, description="Seconds for a whole list or batch.")
    max_connections: int = Field(
        default=8, ge=1, le=256, description="Maximum number of connections of this process."
    )
    pooler: bool | None = Field(
        default=None,
        description="Whether a pooler such as pgbouncer is in between: nothing is then left in a "
        "session. Detected if not given.",
    )
    migrate: bool = Field(default=True, description="Make missing tables, and upgrade old ones.")
