"""What the entry point `directory` stands for."""

from __future__ import annotations

from collections.abc import Iterable

from strongroom import Plugin, hookimpl

from strongroom_directory.config import DirectoryConfig

__all__ = ["strongroom_providers"]


@hookimpl
def strongroom_providers() -> Iterable[Plugin]:
    """Return the descriptor of `type: directory`."""
    yield Plugin(
        name="directory",
        summary="Secrets as files in a folder: Kubernetes and Docker mounts, credentials of systemd.",
        config=DirectoryConfig,
        factory="strongroom_directory.provider:DirectorySecretProvider",
        address=frozenset({"path", "suffix"}),
    )
