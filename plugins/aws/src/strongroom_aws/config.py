"""The options of `type: aws` and `type: aws.parameters`."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class _Account(BaseModel):
    """The options of both services: where, as whom, and for how long."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, defer_build=True)

    region_name: str | None = Field(default=None, description="Region; by default from the SDK's own chain.")
    endpoint_url: str | None = Field(
        default=None,
        pattern=r"^[hH][tT][tT][pP][sS]?://[^/]",
        description="Address of the service: a VPC endpoint, an emulator.",
    )
    profile_name: str | None = Field(default=None, description="Profile of ~/.aws/config.")
    access_key_id: str | None = Field(
        default=None, repr=False, description="Access key; by default the SDK's chain."
    )
    secret_access_key: str | None = Field(default=None, repr=False, description="The access key's secret.")
    session_token: str | None = Field(default=None, repr=False, description="Token of temporary credentials.")
    role_arn: str | None = Field(default=None, description="Role to assume with those credentials.")
    role_session_name: str = Field(
        default="strongroom", description="Name of the role's session in CloudTrail."
    )
    external_id: str | None = Field(
        default=None, repr=False, description="External id that the role asks for."
    )
    sts_endpoint_url: str | None = Field(
        default=None,
        pattern=r"^[hH][tT][tT][pP][sS]?://[^/]",
        description="Address of STS; by default AWS's, or endpoint_url if that is not AWS's.",
    )
    verify: bool | Path | None = Field(
        default=None,
        description="Check certificates; a path names the CA's file. By default the SDK's own chain.",
    )
    kms_key_id: str | None = Field(
        default=None, description="KMS key that encrypts new secrets, and parameters at each write."
    )
    timeout: float = Field(
        default=10.0, gt=0, description="Seconds for one get, set, delete or page, with retries."
    )
    deadline: float | None = Field(default=None, gt=0, description="Seconds for a whole list or batch.")
    max_connections: int = Field(default=16, ge=1, le=256, description="Connections that are kept open.")


class AWSConfig(_Account):
    """The constructor's parameters of `AWSSecretProvider`."""

    recovery_window_days: int | None = Field(
        default=None,
        ge=7,
        le=30,
        description="Days for which a deleted secret can be restored; AWS's default is 30.",
    )
    force_delete: bool = Field(default=False, description="Delete at once, with no way back.")
    tags: dict[str, str] = Field(default_factory=dict, description="Tags of new secrets.")

    rules_of_structure: ClassVar[frozenset[str]] = frozenset({"_one_way_to_delete"})
    """Rules that are about what is given, and not about what a text says."""

    @model_validator(mode="after")
    def _one_way_to_delete(self) -> Self:
        if self.force_delete and self.recovery_window_days is not None:
            message = "either force_delete, which leaves no way back, or recovery_window_days"
            raise ValueError(message)
        return self


class AWSParameterConfig(_Account):
    """The constructor's parameters of `AWSParameterProvider`."""

    tier: Literal["Standard", "Advanced", "Intelligent-Tiering"] = Field(
        default="Standard", description="Standard takes 4,096 bytes, the others 8,192 (Advanced is charged)."
    )


class AWSRoleConfig(BaseModel):
    """The constructor's parameters of `AWSRoleProvider`."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    region_name: str | None = Field(default=None, description="Region; by default from the SDK's own chain.")
    roles: dict[str, str] = Field(min_length=1, description="The ARN of each role, by name.")
    duration_seconds: int | None = Field(
        default=None,
        ge=900,
        le=43_200,
        description="How long credentials live; by default the service decides.",
    )
    endpoint_url: str | None = Field(
        default=None,
        pattern=r"^[hH][tT][tT][pP][sS]?://[^/]",
        description="Address of STS: a VPC endpoint, an emulator.",
    )
    profile_name: str | None = Field(default=None, description="Profile of ~/.aws/config.")
    access_key_id: str | None = Field(
        default=None, repr=False, description="Access key; by default the SDK's chain."
    )
    secret_access_key: str | None = Field(default=None, repr=False, description="The access key's secret.")
    session_token: str | None = Field(default=None, repr=False, description="Token of temporary credentials.")
    role_session_name: str = Field(default="strongroom", description="Name of the sessions in CloudTrail.")
    external_id: str | None = Field(
        default=None, repr=False, description="External id that the roles ask for."
    )
    verify: bool | Path | None = Field(
        default=None,
        description="Check certificates; a path names the CA's file. By default the SDK's own chain.",
    )
    timeout: float = Field(default=10.0, gt=0, description="Seconds for one call, with retries.")
    max_connections: int = Field(default=16, ge=1, le=256, description="Connections that are kept open.")
