"""What a backend tells of a secret and of its versions, without their values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

__all__ = ["SecretMetadata", "SecretVersion"]


@dataclass(frozen=True, slots=True)
class SecretMetadata:
    """What a backend tells of a secret without its value; times are aware and in UTC."""

    key: str
    version: str
    created_at: datetime | None = None
    updated_at: datetime | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SecretVersion:
    """One version of a secret, without its value; `created_at` is aware and in UTC."""

    version: str
    created_at: datetime | None
    state: VersionState


VersionState = Literal["current", "pending", "previous", "disabled", "deleted", "destroyed"]
