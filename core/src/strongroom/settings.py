"""The environment variable `STRONGROOM_ENCRYPTION_KEY`, for ciphers and caches that are given no key.

The other variables are read by what they are about: plugins, the audit trail, the events, the spec's source.
docs/reference/environment.md has them all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from strongroom.errors import ConfigurationError

__all__ = ["Settings", "cipher_of_settings", "required_encryption_key"]

C = TypeVar("C")


class Settings(BaseSettings):
    """What the variable holds; only its very name counts, for `run` keeps no other from its child."""

    model_config = SettingsConfigDict(case_sensitive=True, hide_input_in_errors=True, extra="ignore")

    encryption_key: SecretStr | None = Field(default=None, validation_alias="STRONGROOM_ENCRYPTION_KEY")
    """The key of ciphers and stores that are given none."""


def required_encryption_key(message: str, option: str | None) -> str:
    """Return the key that `STRONGROOM_ENCRYPTION_KEY` holds.

    Args:
        message: What the error says where there is none.
        option: What could be given instead; None if nothing could.

    Raises:
        ConfigurationError: There is none.
    """
    key = Settings().encryption_key
    if key is None:
        other = f"give `{option}`, or " if option else ""
        raise ConfigurationError(
            message, hint=f"{other}set STRONGROOM_ENCRYPTION_KEY to what `strongroom keygen` prints"
        )
    return key.get_secret_value()


def cipher_of_settings(cipher: Callable[[str], C], message: str, option: str | None) -> C:
    """Return the cipher that `cipher` makes of the key that `STRONGROOM_ENCRYPTION_KEY` holds.

    Args:
        cipher: The class of the cipher.
        message: See `required_encryption_key`.
        option: See there.

    Raises:
        ConfigurationError: There is no key, or what the variable holds is not one.
    """
    key = required_encryption_key(message, option)
    try:
        return cipher(key)
    except ConfigurationError as error:
        error.message = f"STRONGROOM_ENCRYPTION_KEY: {error.message}"
        error.args = (error.message,)
        raise
