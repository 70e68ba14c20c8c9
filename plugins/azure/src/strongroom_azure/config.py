"""The options of `type: azure`; importing this needs no SDK."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from strongroom_azure.credentials import problem


class AzureConfig(BaseModel):
    """Azure Key Vault, through Microsoft's own client."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, defer_build=True)

    vault_url: str = Field(
        pattern=r"^[hH][tT][tT][pP][sS]://[^/]",
        description="Address of the vault, as in https://my-vault.vault.azure.net.",
    )
    credential: dict[str, Any] | None = Field(
        default=None,
        repr=False,
        description="Login: method (default, client_secret, client_certificate, managed_identity, "
        "workload_identity, azure_cli) and its members. Left out: Azure's standard chain.",
    )
    client_options: dict[str, Any] = Field(
        default_factory=dict,
        repr=False,
        description="Keyword arguments of the SDK's SecretClient, such as connection_verify, "
        "verify_challenge_resource or api_version.",
    )
    timeout: float = Field(
        default=10.0, gt=0, description="Seconds for one get, set, delete or page, retries included."
    )
    deadline: float | None = Field(
        default=None, gt=0, description="Seconds for a whole list or batch; no limit by default."
    )
    max_workers: int = Field(
        default=32, ge=1, le=64, description="How many secrets of one batch are read at the same time."
    )
    purge: bool = Field(
        default=False, description="Delete for good, instead of leaving the secret recoverable."
    )
    tags: dict[str, str] = Field(
        default_factory=dict, description="Tags of each version that is written, at most 9."
    )

    @field_validator("credential")
    @classmethod
    def _known_method(cls, given: dict[str, Any] | None) -> dict[str, Any] | None:
        wrong = problem(given) if given is not None else None
        if wrong:
            raise ValueError(wrong)
        return given
