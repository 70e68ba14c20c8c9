"""What the entry point `sops` stands for."""

from __future__ import annotations

from collections.abc import Iterable

from strongroom import Plugin, hookimpl

from strongroom_sops.config import SopsConfig

__all__ = ["strongroom_providers"]


@hookimpl
def strongroom_providers() -> Iterable[Plugin]:
    """Return the descriptor of `type: sops`."""
    yield Plugin(
        name="sops",
        summary="Secrets in a sops file, read and written by the program `sops`.",
        config=SopsConfig,
        factory="strongroom_sops.provider:SopsSecretProvider",
        address=frozenset({"path"}),
    )
