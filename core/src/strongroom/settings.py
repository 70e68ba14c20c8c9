"""The `STRONGROOM_…` environment variables that replace an argument.

The others are read by what they are about: plugins, the audit trail, the events, the spec's source.
docs/reference/environment.md has them all.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from strongroom.errors import ConfigurationError

__all__ = ["Settings", "read_settings", "required_encryption_key"]


class Settings(BaseSettings):
    """What no argument gives, each from the variable `STRONGROOM_` and its name in capitals."""

    model_config = SettingsConfigDict(env_prefix="STRONGROOM_", hide_input_in_errors=True, extra="ignore")

    spec: Path | None = None
    """The spec file, where none is given."""
    profile: str | None = None
    """The profile, where none is given."""
    encryption_key: SecretStr | None = None
    """The key of ciphers and stores that are given none."""


def read_settings() -> Settings:
    """Return the settings of the environment as it is now.

    Raises:
        ConfigurationError: A variable does not hold what it should; its value is not shown.
    """
    try:
        return Settings()
    except ValidationError as error:
        names = sorted(
            f"STRONGROOM_{'_'.join(map(str, one['loc'])).upper()}"
            for one in error.errors(include_input=False)
        )
    raise ConfigurationError(f"not understood: {', '.join(names)}")


def required_encryption_key(message: str, option: str | None) -> str:
    """Return the key that `STRONGROOM_ENCRYPTION_KEY` holds.

    Args:
        message: What the error says where there is none.
        option: What could be given instead; None if nothing could.

    Raises:
        ConfigurationError: There is none.
    """
    key = read_settings().encryption_key
    if key is None:
        other = f"give `{option}`, or " if option else ""
        raise ConfigurationError(
            message, hint=f"{other}set STRONGROOM_ENCRYPTION_KEY to what `strongroom keygen` prints"
        )
    return key.get_secret_value()
