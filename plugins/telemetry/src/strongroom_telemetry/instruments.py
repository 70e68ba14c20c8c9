"""The instruments, one set for each meter provider, however many hooks there are."""

from __future__ import annotations

import threading
import weakref
from collections import Counter, deque
from collections.abc import Callable, Iterator
from functools import partial
from operator import add
from typing import TYPE_CHECKING, Any

from opentelemetry import metrics
from opentelemetry.metrics import Observation
from strongroom.parallel import renew_after_fork

if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, MeterProvider
    from strongroom import SecretProviderRegistry

    from strongroom_telemetry.due import RotationsDue

__all__ = ["Instruments", "Values", "instruments_of"]

Values = Iterator[tuple[dict[str, str], float]]
"""Numbers, each with its labels."""
_RESULTS = {"hit": "hits", "miss": "misses", "stale": "stale", "negative": "negative"}
_SECONDS = (0.00001, 0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30)


class _Guard:
    """A lock that is free in a forked child, even if a thread of its parent held it."""

    def __init__(self) -> None:
        self.renew()
        renew_after_fork(self, _Guard.renew)

    def renew(self) -> None:
        self.lock = threading.RLock()  # a signal handler may read in the middle of a report


class _Counted:
    """The last counts of one registry, of which none falls."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, str]] = Counter()
        """Reads of caches by pipeline and result."""
        self.failures = 0

    def see(self, registry: SecretProviderRegistry) -> None:
        figures = registry.figures()
        for pipeline, stats in figures.caches.items():
            for result, member in _RESULTS.items():
                name = pipeline, result
                self.requests[name] = max(self.requests[name], getattr(stats, member))
        self.failures = max(self.failures, figures.audit_failures)

    def add(self, other: _Counted) -> None:
        for name, count in other.requests.items():
            self.requests[name] += count
        self.failures += other.failures


class Instruments:
    """The instruments of one meter provider; the observable ones ask every live registry, each once.

    Args:
        provider: Where they go; None for the global one, even if that is set later.
    """

    def __init__(self, provider: MeterProvider | None) -> None:
        meter = metrics.get_meter("strongroom", meter_provider=provider)
        self._guard = _Guard()
        self._registries: weakref.WeakKeyDictionary[
            SecretProviderRegistry, tuple[_Counted, RotationsDue, weakref.finalize[Any, Any]]
        ]
        self._registries = weakref.WeakKeyDictionary()
        self._ended: deque[_Counted] = deque()
        """Of registries that are gone, what is not yet in `_before`: garbage collection takes no lock."""
        self._before = _Counted()
        self._closed: weakref.WeakSet[SecretProviderRegistry] = weakref.WeakSet()
        """Those whose counts are in `_before`: one that is used again would count them a second time."""
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

    def watch(self, registry: SecretProviderRegistry, due: RotationsDue) -> None:
        """Ask `registry` too, until it is closed or gone; of several hooks of it the first counts."""
        with self._guard.lock:
            if registry not in self._registries and registry not in self._closed:
                counted = _Counted()
                gone = weakref.finalize(registry, self._ended.append, counted)
                gone.atexit = False
                self._registries[registry] = counted, due, gone

    def keep(self, registry: SecretProviderRegistry) -> None:
        """Add the counts of `registry`, which is closed, to the counters, and do not ask it any more."""
        with self._guard.lock:
            counted, _, gone = self._registries.pop(registry, (None, None, None))
            if counted is not None and gone is not None:
                self._closed.add(registry)
                gone.detach()
                counted.see(registry)
                self._before.add(counted)

    def _counted(self) -> _Counted:
        with self._guard.lock:
            while self._ended:
                self._before.add(self._ended.popleft())
            total = _Counted()
            total.add(self._before)
            for registry, counted, _ in self._live():
                counted.see(registry)
                total.add(counted)
        return total

    def _live(self) -> list[tuple[SecretProviderRegistry, _Counted, RotationsDue]]:
        """Return what is asked; under the lock, for a registry may be opened or closed meanwhile."""
        with self._guard.lock:
            return [(registry, counted, due) for registry, (counted, due, _) in self._registries.items()]

    def _requests(self) -> Values:
        for (pipeline, result), count in self._counted().requests.items():
            yield {"pipeline": pipeline, "result": result}, count

    def _failures(self) -> Values:
        yield {}, self._counted().failures

    def _entries(self) -> Values:
        for registry, *_ in self._live():
            for pipeline, stats in registry.figures().caches.items():
                yield {"pipeline": pipeline}, stats.entries

    def _left(self) -> Values:
        for registry, *_ in self._live():
            for pipeline, seconds in registry.figures().lease_seconds_left.items():
                yield {"pipeline": pipeline}, seconds

    def _due(self) -> Values:
        for registry, _, due in self._live():
            for pipeline, count in due.of(registry).items():
                yield {"pipeline": pipeline}, count


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


_making = _Guard()
_instruments: weakref.WeakKeyDictionary[MeterProvider, Instruments] = weakref.WeakKeyDictionary()


def instruments_of(provider: MeterProvider | None) -> Instruments:
    """Return the instruments of a meter provider, or of the global one; made at the first call."""
    chosen = provider if provider is not None else metrics.get_meter_provider()
    with _making.lock:
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
    """Return whether a provider is the API's own placeholder for a real one."""
    return type(provider).__module__.startswith("opentelemetry.metrics")
