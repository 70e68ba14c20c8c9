"""The options of `l2: {type: redis}` and of the rotator `redis`; importing this needs no redis."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["RedisCacheConfig", "RedisRotatorConfig"]


class RedisCacheConfig(BaseModel):
    """The constructor's parameters of `RedisCacheStore`."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, defer_build=True)

    url: str = Field(
        pattern=r"^(rediss?|unix|rediss?\+(sentinel|cluster))://",
        repr=False,
        description="redis://, rediss:// or unix:// as redis-py takes them; redis+sentinel:// and "
        "redis+cluster:// (or rediss+…) with hosts joined by commas.",
    )
    namespace: str = Field(
        default="strongroom", min_length=1, description="What the names of all keys and channels begin with."
    )
    username: str | None = Field(default=None, description="ACL user; else the URL's.")
    password: str | None = Field(default=None, repr=False, description="Its password; by default the URL's.")
    sentinel_username: str | None = Field(default=None, description="ACL user of the sentinels themselves.")
    sentinel_password: str | None = Field(default=None, repr=False, description="Its password.")
    ca_file: Path | None = Field(default=None, description="The CA of the server's certificate, PEM.")
    cert_file: Path | None = Field(default=None, description="The client's certificate, PEM.")
    key_file: Path | None = Field(default=None, description="Its private key, PEM.")
    verify: bool = Field(default=True, description="Check the server's certificate and host name.")
    timeout_seconds: float = Field(default=0.4, gt=0, description="Seconds for one call, with connecting.")


_SERVER = r"^(rediss?|unix)://"


class RedisRotatorConfig(BaseModel):
    """The constructor's parameters of `RedisRotator`."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    url: str = Field(
        pattern=_SERVER,
        repr=False,
        description="Where an administrator logs in: redis://, rediss:// or unix://, as redis-py takes them.",
    )
    user: str = Field(
        min_length=1, pattern=r"^\S+$", description="The ACL user whose password is rotated; `default` too."
    )
    username: str | None = Field(default=None, description="The administrator; by default the URL's.")
    password: str | None = Field(default=None, repr=False, description="Its password; by default the URL's.")
    others: list[Annotated[str, Field(pattern=_SERVER)]] = Field(
        default=[],
        repr=False,
        description="Further servers, each with its own users: replicas, and the nodes of a cluster. The "
        "administrator is the same.",
    )
    ca_file: Path | None = Field(default=None, description="The CA of the servers' certificates, PEM.")
    cert_file: Path | None = Field(default=None, description="The client's certificate, PEM.")
    key_file: Path | None = Field(default=None, description="Its private key, PEM.")
    timeout_seconds: float = Field(default=10, gt=0, le=300, description="Seconds for one command.")
