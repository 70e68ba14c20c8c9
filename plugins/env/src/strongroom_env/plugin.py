"""What the entry point `env` stands for."""

from __future__ import annotations

from collections.abc import Iterable

from strongroom import Plugin, hookimpl

from strongroom_env.config import EnvConfig

__all__ = ["strongroom_providers"]


@hookimpl
def strongroom_providers() -> Iterable[Plugin]:
    """Return the descriptor of `type: env`."""
    yield Plugin(
        name="env",
        summary="Secrets in environment variables, for development and containers.",
        config=EnvConfig,
        factory="strongroom_env.provider:EnvSecretProvider",
    )
