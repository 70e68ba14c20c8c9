"""Stores that end with the command: `memory` and `env`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from strongroom.cli.context import GlobalOptions
    from strongroom.registry import SecretProviderRegistry

__all__ = ["OF_THE_PROCESS", "warn_of_loss"]

OF_THE_PROCESS = frozenset({"env", "memory"})
"""The type names of their providers."""


def warn_of_loss(settings: GlobalOptions, registry: SecretProviderRegistry, keys: Iterable[str]) -> None:
    """Warn if the values that were stored under `keys` are lost when this command ends."""
    how = [registry.explain(key) for key in keys]
    lost = sorted({one.pipeline for one in how if one.provider in OF_THE_PROCESS})
    if lost:
        settings.warn(
            f"{', '.join(lost)} lives in this process only: what was stored there ends with this command"
        )
