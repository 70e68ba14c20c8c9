"""What the entry point `postgresql` stands for."""

from __future__ import annotations

from collections.abc import Iterable

from strongroom import Plugin, hookimpl
from strongroom.plugins import RotatorPlugin

from strongroom_postgresql.config import PostgreSQLConfig
from strongroom_postgresql.rotator_config import PostgreSQLRotatorConfig

__all__ = ["strongroom_providers"]


@hookimpl
def strongroom_providers() -> Iterable[Plugin]:
    """Return the descriptors of `type: postgresql`, a provider and a rotator."""
    yield Plugin(
        name="postgresql",
        summary="A PostgreSQL database; names and values are encrypted before they reach it.",
        config=PostgreSQLConfig,
        factory="strongroom_postgresql.provider:PostgreSQLSecretProvider",
    )
    yield RotatorPlugin(
        name="postgresql",
        summary="The password of a PostgreSQL role, or of two that take turns.",
        config=PostgreSQLRotatorConfig,
        factory="strongroom_postgresql.rotator:PostgreSQLRotator",
    )
