"""The descriptor for core."""

from __future__ import annotations

from collections.abc import Iterable

from strongroom import Plugin, hookimpl

from strongroom_telemetry.config import TelemetryConfig

__all__ = ["strongroom_hooks"]


@hookimpl
def strongroom_hooks() -> Iterable[Plugin]:
    """Return the descriptor of `type: telemetry`."""
    yield Plugin(
        name="telemetry",
        summary="Spans and metrics of every operation, with OpenTelemetry.",
        config=TelemetryConfig,
        factory="strongroom_telemetry.hook:TelemetryHook",
    )
