"""What the entry point `memory` stands for."""

from __future__ import annotations

from collections.abc import Iterable

from strongroom import Plugin, hookimpl

from strongroom_memory.config import MemoryConfig

__all__ = ["strongroom_providers"]


@hookimpl
def strongroom_providers() -> Iterable[Plugin]:
    """Return the descriptor of `type: memory`."""
    yield Plugin(
        name="memory",
        summary="Secrets in the memory of this process, for tests and examples.",
        config=MemoryConfig,
        factory="strongroom_memory.provider:MemorySecretProvider",
    )
