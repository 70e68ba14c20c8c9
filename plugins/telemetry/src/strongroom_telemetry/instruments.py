"""The instruments, one set for each meter provider, however many hooks there are."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from operator import add
from typing import TYPE_CHECKING

from opentelemetry import metrics
from opentelemetry.metrics import Observation

if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, MeterProvider

    from strongroom_telemetry.hook import TelemetryHook

__all__ = ["Instruments", "Values", "instruments_of"]

Values = Iterator[tuple[dict[str, str], float]]
"""Numbers, each with its labels."""
_RESULTS = {"hit": "hits", "miss": "misses", "stale": "stale", "negative": "negative"}
_SECONDS = (0.00001, 0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30)


class Instruments:
    """What one meter provider gets; the observable ones ask every hook that is alive.

    Args:
        provider: Where they go; None for the global one, also where that is set later.
    """

    def __init__(self, provider: MeterProvider | None) -> None:
        meter = metrics.get_meter("strongroom", meter_provider=provider)
        self._hooks: weakref.WeakSet[TelemetryHook] = weakref.WeakSet()
        self.duration = meter.create_histogram(
            "strongroom.operation.duration",
            unit="s",
            description="Duration of operations on secrets.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        for create, name, unit, description, observe in (
            (meter.create_observable_gauge, "cache.entries", "{entry}", "Entries in memory", self._entries),
            (
                meter.create_observable_counter,
                "cache.requests",
                "{request}",
                "Reads of caches",
                self._requests,
            ),
            (
                meter.create_observable_counter,
                "audit.failures",
                "{failure}",
                "Unrecorded calls",
                self._failures,
            ),
            (meter.create_observable_gauge, "lease.seconds_left", "s", "Until the first ends", self._left),
            (meter.create_observable_gauge, "rotation.due", "{secret}", "Secrets that are due", self._due),
        ):
            ask = partial(_observed, observe, min if name.startswith("lease") else add)
            create(f"strongroom.{name}", callbacks=[ask], unit=unit, description=description)

    def add(self, hook: TelemetryHook) -> None:
        """Ask `hook` too, as long as it lives."""
        self._hooks.add(hook)

    def _entries(self) -> Values:
        for hook in list(self._hooks):
            yield from ((labels, stats.entries) for labels, stats in hook.caches())

    def _requests(self) -> Values:
        for hook in list(self._hooks):
            for labels, stats in hook.caches():
                for result, member in _RESULTS.items():
                    yield {**labels, "result": result}, getattr(stats, member)

    def _failures(self) -> Values:
        yield from (({}, hook.audit_failures()) for hook in list(self._hooks))

    def _left(self) -> Values:
        for hook in list(self._hooks):
            yield from hook.seconds_left()

    def _due(self) -> Values:
        for hook in list(self._hooks):
            yield from hook.rotations_due()


def _observed(
    values: Callable[[], Values], both: Callable[[float, float], float], _: CallbackOptions
) -> Iterator[Observation]:
    """Yield one number for each set of labels: several registries may have a pipeline of one name."""
    totals: dict[tuple[tuple[str, str], ...], float] = {}
    for labels, value in values():
        name = tuple(sorted(labels.items()))
        totals[name] = both(totals[name], value) if name in totals else value
    for name, value in totals.items():
        yield Observation(value, dict(name))


_lock = threading.Lock()
_instruments: weakref.WeakKeyDictionary[MeterProvider, Instruments] = weakref.WeakKeyDictionary()


def instruments_of(provider: MeterProvider | None) -> Instruments:
    """Return the instruments of a meter provider, or of the global one; made at the first call."""
    chosen = provider if provider is not None else metrics.get_meter_provider()
    with _lock:
        instruments = _instruments.get(chosen)
        if instruments is None and provider is None:
            # The API hands what was made before the global provider was set over to that one.
            earlier = next((one for one in list(_instruments) if _stands_in(one)), None)
            instruments = _instruments.pop(earlier) if earlier is not None else None
        if instruments is None:
            instruments = Instruments(provider)
        _instruments[chosen] = instruments
        return instruments


def _stands_in(provider: MeterProvider) -> bool:
    """Tell whether a provider is the API's own, which waits for a real one."""
    return type(provider).__module__.startswith("opentelemetry.metrics")
