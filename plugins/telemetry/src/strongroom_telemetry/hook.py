"""The hook: a span and a duration for each operation."""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from opentelemetry import context, trace
from opentelemetry.trace import Status, StatusCode
from strongroom import SecretEvent
from strongroom.hooks import BatchHook

from strongroom_telemetry.due import RotationsDue
from strongroom_telemetry.instruments import Instruments, instruments_of

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import Span, TracerProvider
    from opentelemetry.util.types import AttributeValue
    from strongroom import SecretProviderRegistry

__all__ = ["TelemetryHook"]

_HASH_CHARACTERS = 16
_FAILED = frozenset({"denied", "error", "vetoed"})
_log = logging.getLogger("strongroom.hooks")


class TelemetryHook(BatchHook):
    """A span and `strongroom.operation.duration` for each operation; caches, rotations, audit in numbers.

    Where OpenTelemetry fails, that is logged, and the operation goes on. Of a batch each key is an operation.
    While an operation of one key runs its span is the current one, so that what an instrumented client of the
    backend does is below it.

    Args:
        keys: What spans say about keys: nothing, or a keyed hash (attribute `key`). Metrics never have a key.
        hash_key: The key of that hash; else one that is made for this process.
        due_seconds: Seconds for which a count of due rotations is reused.
        tracer_provider: Where spans go; else the global one.
        meter_provider: Where metrics go; else the global one.
        clock: A monotonic clock in seconds.
    """

    def __init__(
        self,
        keys: Literal["none", "hashed"] = "none",
        *,
        hash_key: str | None = None,
        due_seconds: float = 60,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        given = hash_key.encode() if hash_key is not None else secrets.token_bytes(32)
        self._hash_key = given if keys == "hashed" else None
        self._tracer = trace.get_tracer("strongroom", tracer_provider=tracer_provider)
        self._instruments: Instruments = instruments_of(meter_provider)
        self._open: dict[tuple[str, str], tuple[Span, Any]] = {}
        """The operations under way, by the event's id and key: the span, and the token of its context."""
        self._due = RotationsDue(due_seconds, clock)

    def registry_opened(self, registry: SecretProviderRegistry) -> None:
        """Count its caches, rotations and audit trail too."""
        self._instruments.watch(registry, self._due)

    def registry_closing(self, registry: SecretProviderRegistry) -> None:
        """Keep its counts, so that no counter falls when a registry is gone."""
        self._instruments.keep(registry)

    def before_all(self, events: Sequence[SecretEvent]) -> None:
        """Start a span for each of them; it never refuses one."""
        failed: Exception | None = None
        for event in events:
            try:
                self._begin(event, is_current=len(events) == 1)
            except Exception as error:  # noqa: BLE001  # an SDK or exporter of anybody's; an operation goes on without it
                failed = error
        if failed is not None:
            _log.warning("telemetry: no span was begun: %s", type(failed).__name__)

    def after_all(self, events: Sequence[SecretEvent]) -> None:
        """End their spans, and note how long they took."""
        failed: Exception | None = None
        for event in events:
            try:
                self._note(event)
            except Exception as error:  # noqa: BLE001  # as above; the others of a batch are noted all the same
                failed = error
        if failed is not None:
            _log.warning("telemetry: an operation was not noted: %s", type(failed).__name__)

    def __repr__(self) -> str:
        return "<TelemetryHook>"

    def _begin(self, event: SecretEvent, *, is_current: bool) -> None:
        attributes = _attributes(event)
        if self._hash_key is not None and event.key and isinstance(event.key, str):
            # Of any key that was asked for, also of one that is refused: half a character.
            name = event.key.encode(errors="surrogatepass")
            attributes["key"] = hmac.new(self._hash_key, name, hashlib.sha256).hexdigest()[:_HASH_CHARACTERS]
        span = self._tracer.start_span(f"strongroom {event.operation}", attributes=attributes)
        token = context.attach(trace.set_span_in_context(span)) if is_current else None
        self._open[event.id, event.key] = span, token

    def _note(self, event: SecretEvent) -> None:
        # First of all: else a span would stay the current one of its thread where what follows fails.
        span, token = self._open.pop((event.id, event.key), (None, None))
        if token is not None:
            context.detach(token)
        attributes = _attributes(event)
        try:
            self._instruments.duration.record(event.duration or 0.0, attributes)
        finally:
            if span is not None:
                _end(span, event, attributes)


def _end(span: Span, event: SecretEvent, attributes: dict[str, AttributeValue]) -> None:
    span.set_attributes(attributes)
    if event.error_type is not None:
        span.set_attribute("error.type", event.error_type)
    if event.outcome in _FAILED:
        span.set_status(Status(StatusCode.ERROR))
    span.end()


def _attributes(event: SecretEvent) -> dict[str, AttributeValue]:
    named = {name: getattr(event, name) for name in ("pipeline", "operation", "outcome", "source")}
    return {name: value for name, value in named.items() if value is not None}
