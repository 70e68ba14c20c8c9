"""The error of an integration whose host program is not installed."""

from __future__ import annotations

from strongroom.errors import ConfigurationError

__all__ = ["MissingHostError"]


class MissingHostError(ConfigurationError, ImportError):
    """The host of an integration is not installed; the hint says what to install."""

    def __init__(self, module: str, distribution: str) -> None:
        super().__init__(
            f"strongroom.integrations.{module} needs {distribution}, which is not installed",
            hint=f"pip install {distribution}",
        )
