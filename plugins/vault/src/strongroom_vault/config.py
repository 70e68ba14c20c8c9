"""The options of `type: vault`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from strongroom_vault.auth_methods import why_not_auth


class _ServerConfig(BaseModel):
    """How to reach a server, and to log in there."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, defer_build=True)

    url: str = Field(
        pattern=r"^[hH][tT][tT][pP][sS]?://[^/]",
        description="Address of the server, as in https://vault.example.com:8200.",
    )
    token: str | None = Field(default=None, repr=False, description="A token; or give `auth`.")
    namespace: str | None = Field(default=None, description="Namespace of the mount and of the login.")
    auth: dict[str, Any] | None = Field(
        default=None,
        repr=False,
        description="Login: method (approle, userpass, kubernetes, jwt, token_file) and its credentials.",
    )
    verify: bool | Path = Field(
        default=True, description="Check the certificate; a path names the CA's file."
    )
    client_cert: Path | None = Field(default=None, description="The client's certificate, PEM.")
    client_key: Path | None = Field(default=None, description="Its private key, PEM.")
    timeout: float = Field(default=10.0, gt=0, description="Seconds for one get, set, delete or page.")
    max_connections: int = Field(default=16, ge=1, le=256, description="Connections for batches and lists.")
    proxies: dict[str, str] | None = Field(default=None, description="Proxy by scheme; none by default.")

    rules_of_structure: ClassVar[frozenset[str]] = frozenset({"_known_login"})
    """Rules that are about what is given, and not about what a text says."""

    @model_validator(mode="after")
    def _known_login(self) -> Self:
        if self.auth is not None and "$" not in str(self.auth.get("method")):  # a reference may name it
            wrong = why_not_auth(self.auth)
            if wrong is not None:
                # Names of methods and members: of a ValueError all that the spec holds is masked.
                raise PydanticCustomError("asked_for", "{wrong}", {"wrong": wrong})
        return self


class VaultConfig(_ServerConfig):
    """The constructor's parameters of `VaultSecretProvider`."""

    mount_point: str = Field(default="secret", description="Where the KV engine is mounted.")
    kv_version: Literal[1, 2] | None = Field(
        default=None, description="Version of the KV engine; by default the server is asked once."
    )
    destroy_on_delete: bool = Field(default=False, description="Delete for good, with all versions.")
    list_deleted: bool = Field(default=False, description="List soft-deleted keys too, for fewer requests.")
    deadline: float | None = Field(default=None, gt=0, description="Seconds for a whole list or batch.")
    field: str | None = Field(default=None, description="Read and patch this one field of each secret.")


class LeaseConfig(_ServerConfig):
    """The constructor's parameters of `VaultLeaseProvider`."""

    mount_point: str = Field(default="database", min_length=1, description="Where the engine is mounted.")
    path: str = Field(
        default="creds", min_length=1, description="The path between mount and role: creds, or issue for pki."
    )
    parameters: dict[str, dict[str, Any]] | None = Field(
        default=None,
        description="What is sent with the request for a role, by role; the request is then a POST.",
    )
    deadline: float | None = Field(default=None, gt=0, description="Seconds for a whole list.")


class TransitConfig(_ServerConfig):
    """The constructor's parameters of `VaultTransitEncryption`."""

    key_name: str = Field(min_length=1, description="The transit key.")
    mount_point: str = Field(default="transit", description="Where the transit engine is mounted.")
    derived: bool = Field(default=False, description="The key was made with `derived=true`.")
