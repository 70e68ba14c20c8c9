from __future__ import annotations

from collections.abc import Iterable

from strongroom import Plugin, hookimpl

from strongroom_file.config import FileConfig

__all__ = ["strongroom_providers"]


@hookimpl
def strongroom_providers() -> Iterable[Plugin]:
    """Give the descriptor of `type: file`."""
    yield Plugin(
        name="file",
        summary="Secrets in one encrypted file: the embedded store.",
        config=FileConfig,
        factory="strongroom_file.provider:FileSecretProvider",
    )
