"""What the entry point `keepass` stands for."""

from __future__ import annotations

from collections.abc import Iterable

from strongroom import Plugin, hookimpl

from strongroom_keepass.config import KeePassConfig

__all__ = ["strongroom_providers"]


@hookimpl
def strongroom_providers() -> Iterable[Plugin]:
    """Return the descriptor of `type: keepass`."""
    yield Plugin(
        name="keepass",
        summary="Secrets in a KeePass database.",
        config=KeePassConfig,
        factory="strongroom_keepass.provider:KeePassSecretProvider",
        address=frozenset({"path", "field"}),
    )
