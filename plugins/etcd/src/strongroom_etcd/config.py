"""The options of `type: etcd`; importing this needs no cryptography."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from strongroom_etcd.endpoints import is_endpoint

__all__ = ["EtcdConfig"]


class EtcdConfig(BaseModel):
    """The constructor's parameters of `EtcdSecretProvider`."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    endpoints: str | tuple[str, ...] = Field(
        description="Addresses of members, as in https://etcd-1.example.com:2379; one, or a list."
    )
    prefix: str = Field(
        default="strongroom/", min_length=1, description="What all of the store's keys in etcd begin with."
    )
    username: str | None = Field(default=None, description="The user, if authentication is enabled.")
    password: str | None = Field(default=None, repr=False, description="Its password.")
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
    ca_file: Path | None = Field(default=None, description="The CA of the members' certificates, PEM.")
    client_cert: Path | None = Field(default=None, description="The client's certificate, PEM.")
    client_key: Path | None = Field(default=None, description="Its private key, PEM.")
    max_versions: int = Field(
        default=20, ge=1, le=1000, description="Versions kept of each secret; the oldest are dropped."
    )
    destroy_on_delete: bool = Field(default=False, description="Delete for good, with all versions.")
    timeout: float = Field(default=10.0, gt=0, description="Seconds for one get, set, delete or page.")
    deadline: float | None = Field(default=None, gt=0, description="Seconds for a whole list or batch.")
    max_connections: int = Field(
        default=8, ge=1, le=256, description="Maximum number of connections of this process."
    )
    max_request_bytes: int = Field(
        default=1_572_864, ge=131_072, description="The cluster's --max-request-bytes."
    )
    max_txn_ops: int = Field(default=128, ge=8, description="The cluster's --max-txn-ops.")

    rules_of_structure: ClassVar[frozenset[str]] = frozenset({"_endpoints_of_members"})
    """Rules that are not about a text that a reference brings in."""

    @model_validator(mode="after")
    def _endpoints_of_members(self) -> Self:
        given = (self.endpoints,) if isinstance(self.endpoints, str) else self.endpoints
        if not given or not all("$" in one or is_endpoint(one) for one in given):  # a reference may be one
            message = "endpoints: expected http:// or https://, a host and usually a port"
            raise ValueError(message)
        return self
