"""What the entry point `exec` stands for."""

from __future__ import annotations

from collections.abc import Iterable

from strongroom import Plugin, hookimpl

from strongroom_exec.config import ExecConfig

__all__ = ["strongroom_providers"]


@hookimpl
def strongroom_providers() -> Iterable[Plugin]:
    """Return the descriptor of `type: exec`."""
    yield Plugin(
        name="exec",
        summary="Secrets in any store, through a program in any language that speaks JSON-RPC.",
        config=ExecConfig,
        factory="strongroom_exec.provider:ExecSecretProvider",
        address=frozenset({"command", "folder"}),
    )
