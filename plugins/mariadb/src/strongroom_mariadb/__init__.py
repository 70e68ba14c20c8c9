"""Passwords of MariaDB users, rotated: `rotate: {rotator: {type: mariadb}}`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom.plugins import lazy_exports

if TYPE_CHECKING:
    from strongroom_mariadb.rotator import MariaDBRotator

__all__ = ["MariaDBRotator"]

__getattr__, __dir__ = lazy_exports(__name__, {"MariaDBRotator": "rotator"})
