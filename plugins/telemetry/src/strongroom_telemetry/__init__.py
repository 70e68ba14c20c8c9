"""Spans and metrics of every operation, with OpenTelemetry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom.plugins import lazy_exports

if TYPE_CHECKING:
    from strongroom_telemetry.hook import TelemetryHook

__all__ = ["TelemetryHook"]

__getattr__, __dir__ = lazy_exports(__name__, {"TelemetryHook": "hook"})
