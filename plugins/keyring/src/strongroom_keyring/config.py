"""The options of `type: keyring`; importing this needs no keyring."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class KeyringConfig(BaseModel):
    """The keyring of the desktop or operating system, through the keyring library."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, defer_build=True)

    service: str = Field(
        default="strongroom",
        min_length=1,
        description="The keyring's service; each key is a user name in it.",
    )
    backend: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$",
        description="Dotted name of a keyring backend's class, such as "
        "'keyring.backends.SecretService.Keyring'. Left out: the one that the keyring library chooses.",
    )
