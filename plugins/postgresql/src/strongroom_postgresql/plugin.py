"""What the entry point `postgresql` stands for."""

from __future__ import annotations

from collections.abc import Iterable

from strongroom import Plugin, hookimpl

from strongroom_postgresql.config import PostgreSQLConfig

__all__ = ["strongroom_providers"]


@hookimpl
def strongroom_providers() -> Iterable[Plugin]:
    """Give the descriptor of `type: postgresql`."""
    yield Plugin(
        name="postgresql",
        summary="A PostgreSQL database; names and values are sealed before they reach it.",
        config=PostgreSQLConfig,
        factory="strongroom_postgresql.provider:PostgreSQLSecretProvider",
    )
