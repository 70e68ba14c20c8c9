"""What the entry point `pass` stands for."""

from __future__ import annotations

from collections.abc import Iterable

from strongroom import Plugin, hookimpl

from strongroom_pass.config import PassConfig

__all__ = ["strongroom_providers"]


@hookimpl
def strongroom_providers() -> Iterable[Plugin]:
    """Return the descriptor of `type: pass`."""
    yield Plugin(
        name="pass",
        summary="Secrets in a password store of pass or gopass.",
        config=PassConfig,
        factory="strongroom_pass.provider:PassSecretProvider",
        address=frozenset({"path", "program", "whole"}),
    )
