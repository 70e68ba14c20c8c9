"""Hooks: what they see of an operation, and who runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom._lazy import lazy_exports

if TYPE_CHECKING:
    from strongroom.hooks.events import (
        Outcome,
        SecretEvent,
        SecretHook,
        Source,
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
    "SecretHook": "events",
    "Source": "events",
    "report_source": "events",
}

__getattr__, __dir__ = lazy_exports(__name__, _HOMES)
