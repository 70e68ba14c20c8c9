"""The allow-list of plugins, `STRONGROOM_PLUGINS`, without the descriptors that a finder loads."""

from __future__ import annotations

import os

__all__ = ["allowed_distributions", "is_shut_out"]


def allowed_distributions() -> frozenset[str] | None:
    """Return the allow-list of `STRONGROOM_PLUGINS`, or None where it is not set."""
    listed = os.environ.get("STRONGROOM_PLUGINS")
    if listed is None:
        return None
    from strongroom.plugins.distributions import normalized

    return frozenset(normalized(name.strip()) for name in listed.split(",") if name.strip())


def is_shut_out(distribution: str) -> bool:
    """Return whether `distribution` is installed, and `STRONGROOM_PLUGINS` does not name it."""
    from importlib import metadata

    allowed = allowed_distributions()
    if allowed is None or distribution in allowed:
        return False
    try:
        metadata.distribution(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True
