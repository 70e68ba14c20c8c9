"""Core's rotator, which posts each step to a service."""

# Annotations are not kept as text here: pydantic would compile each by itself.

from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator

from strongroom.plugins.descriptors import Plugin, RotatorPlugin
from strongroom.plugins.hookspecs import hookimpl
from strongroom.plugins.webhook_key import signing_key

__all__ = ["strongroom_providers"]


class HttpRotatorConfig(BaseModel):
    """Options of the rotator `http`."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, defer_build=True)

    url: str = Field(
        pattern=r"^https?://[^/?#@\s]+([/?][^#\s]*)?$",
        description="Where each step is posted: https, or http on the loopback address.",
    )
    hmac_key: str = Field(
        min_length=8,
        repr=False,
        description="The key that signs requests: text, or `whsec_` and base64.",
    )
    allow_http: bool = Field(
        default=False, description="Send values unencrypted to an address that is not loopback."
    )
    ca_file: Path | None = Field(default=None, description="The CA of the server's certificate, PEM.")
    cert_file: Path | None = Field(default=None, description="The client's certificate, PEM.")
    key_file: Path | None = Field(default=None, description="Its private key, PEM.")
    timeout_seconds: float = Field(
        default=30, gt=0, le=300, description="Seconds for one step, with connecting and the answer."
    )

    @field_validator("hmac_key")
    @classmethod
    def _signs(cls, hmac_key: str) -> str:
        signing_key(hmac_key)
        return hmac_key


@hookimpl
def strongroom_providers() -> Iterable[Plugin]:
    yield RotatorPlugin(
        name="http",
        summary="Posts each step of a rotation to your own service, signed as Standard Webhooks.",
        config=HttpRotatorConfig,
        factory="strongroom.rotation.http:HttpRotator",
    )
