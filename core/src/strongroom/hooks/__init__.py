"""Hooks: what they see of an operation, and who runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom._lazy import lazy_exports

if TYPE_CHECKING:
    from strongroom.hooks.base import (
        SecretHook,
    )
    from strongroom.hooks.events import (
        Outcome,
        SecretEvent,
        Source,
    )
    from strongroom.hooks.observation import (
        report_source,
    )

__all__ = [
    "Outcome",
    "SecretEvent",
    "SecretHook",
    "Source",
    "report_source",
]

_HOMES = {
    "Outcome": "events",
    "SecretEvent": "events",
    "SecretHook": "base",
    "Source": "events",
    "report_source": "observation",
}

__getattr__, __dir__ = lazy_exports(__name__, _HOMES)
