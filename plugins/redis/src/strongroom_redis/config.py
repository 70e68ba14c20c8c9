"""The options of `l2: {type: redis}`; importing this needs no redis."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["RedisCacheConfig"]


class RedisCacheConfig(BaseModel):
    """The constructor's parameters of `RedisCacheStore`."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

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
    password: str | None = Field(default=None, repr=False, description="Its password; else the URL's.")
    sentinel_username: str | None = Field(default=None, description="ACL user of the sentinels themselves.")
    sentinel_password: str | None = Field(default=None, repr=False, description="Its password.")
    ca_file: Path | None = Field(default=None, description="The CA of the server's certificate, PEM.")
    cert_file: Path | None = Field(default=None, description="The client's certificate, PEM.")
    key_file: Path | None = Field(default=None, description="Its private key, PEM.")
    verify: bool = Field(default=True, description="Check the server's certificate and host name.")
    timeout_seconds: float = Field(default=0.4, gt=0, description="Seconds for one call, with connecting.")
