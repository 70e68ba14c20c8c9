"""What the entry point `mariadb` stands for."""

from __future__ import annotations

from collections.abc import Iterable

from strongroom import Plugin, hookimpl
from strongroom.plugins import RotatorPlugin

from strongroom_mariadb.config import MariaDBRotatorConfig

__all__ = ["strongroom_providers"]


@hookimpl
def strongroom_providers() -> Iterable[Plugin]:
    """Return the descriptor of the rotator `mariadb`."""
    yield RotatorPlugin(
        name="mariadb",
        summary="The password of a MariaDB user, or of two that take turns.",
        config=MariaDBRotatorConfig,
        factory="strongroom_mariadb.rotator:MariaDBRotator",
    )
