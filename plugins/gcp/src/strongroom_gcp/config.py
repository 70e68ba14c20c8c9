"""The options of `type: gcp`; importing this needs no SDK."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class GCPConfig(BaseModel):
    """Google Cloud Secret Manager, through Google's own client."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, defer_build=True)

    project_id: str = Field(min_length=1, description="Id or number of the project that holds the secrets.")
    location: str | None = Field(
        default=None,
        min_length=1,
        description="Region of regional secrets, such as 'europe-west3'; left out for global ones.",
    )
    credentials: str | None = Field(
        default=None,
        repr=False,
        description="JSON text of a service account's key or of an authorised user. "
        "Left out: Google's standard chain (Application Default Credentials).",
    )
    credentials_file: Path | None = Field(
        default=None, description="File with that JSON text, instead of `credentials`."
    )
    client_options: dict[str, Any] = Field(
        default_factory=dict,
        repr=False,
        description="Google's client options, such as api_endpoint, quota_project_id or universe_domain.",
    )
    transport: Literal["grpc", "rest"] = Field(
        default="grpc",
        description="Protocol to the service: 'grpc', or 'rest' if the network lets only HTTP/1.1 out.",
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
    replication: list[str] = Field(
        default_factory=list,
        description="Locations of new secrets; left out: Google's automatic replication.",
    )
    kms_key_name: str | None = Field(
        default=None,
        min_length=1,
        description="Cloud KMS key for new secrets (CMEK); '{location}' in it is replaced by each replica's.",
    )
    labels: dict[str, str] = Field(default_factory=dict, description="Labels of new secrets.")
