"""Counts for Prometheus. Labels are fixed names, and never keys, tenants or values."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from typing import Any, Final

__all__ = ["Counter", "Histogram", "Metrics"]

_RESULTS: Final = {"hits": "hit", "misses": "miss", "stale": "stale", "negative": "negative"}
"""Members of a cache's counts, and how telemetry names them."""
_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Counter:
    """A count for each set of labels."""

    def __init__(
        self, name: str, summary: str, labels: tuple[str, ...], begins: Iterable[tuple[str, ...]] = ()
    ) -> None:
        self.name, self.summary, self.labels = name, summary, labels
        # What is not there before it is counted first has no increase that Prometheus could see.
        self._counts: dict[tuple[str, ...], int] = dict.fromkeys(begins, 0)

    def add(self, *values: str) -> None:
        """Count one more."""
        self._counts[values] = self._counts.get(values, 0) + 1

    def items(self) -> list[tuple[tuple[str, ...], int]]:
        """Return the labels' values and their counts."""
        return sorted(self._counts.items())

    def lines(self) -> Iterator[str]:
        """Yield it as Prometheus reads it."""
        yield f"# HELP {self.name} {self.summary}"
        yield f"# TYPE {self.name} counter"
        for values, count in self.items():
            yield f"{self.name}{_labels(zip(self.labels, values, strict=True))} {count}"


class Histogram:
    """How long requests took, in seconds."""

    def __init__(self, name: str, summary: str) -> None:
        self.name, self.summary = name, summary
        self._counts = [0] * (len(_BUCKETS) + 1)
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        """Count one request."""
        self._counts[bisect_left(_BUCKETS, seconds)] += 1
        self._sum += seconds

    def lines(self) -> Iterator[str]:
        """Yield it as Prometheus reads it."""
        yield f"# HELP {self.name} {self.summary}"
        yield f"# TYPE {self.name} histogram"
        total = 0
        for bound, count in zip((*map(str, _BUCKETS), "+Inf"), self._counts, strict=True):
            total += count
            yield f'{self.name}_bucket{{le="{bound}"}} {total}'
        yield f"{self.name}_sum {self._sum:.6f}"
        yield f"{self.name}_count {total}"


class Metrics:
    """The counts of the server, which last as long as the process, even if the spec is read again."""

    def __init__(self) -> None:
        self.requests = Counter(
            "strongroom_serve_requests_total",
            "Requests that were answered.",
            ("client", "operation", "status"),
        )
        self.duration = Histogram(
            "strongroom_serve_request_duration_seconds", "Seconds from a request's headers to its answer."
        )
        self.refused = Counter(
            "strongroom_serve_refused_total",
            "Requests that were refused before anything was asked.",
            ("reason",),
            [("token",), ("guessing",), ("rule",), ("host",)],
        )
        self.reloads = Counter(
            "strongroom_serve_reloads_total",
            "Times the spec was read again.",
            ("outcome",),
            [("ok",), ("failed",)],
        )

    def text(self, figures: Any, *, draining: bool) -> str:
        """Return all counts in Prometheus's text form.

        Args:
            figures: The registry's `figures()`.
            draining: Whether the server is ending.
        """
        own = (self.requests, self.duration, self.refused, self.reloads)
        return "\n".join([*(line for one in own for line in one.lines()), *_figures(figures, draining), ""])


def _figures(figures: Any, draining: bool) -> Iterator[str]:
    caches = sorted(figures.caches.items())
    reads = [
        ({"pipeline": name, "result": result}, getattr(stats, member))
        for name, stats in caches
        for member, result in _RESULTS.items()
    ]
    yield from _family("strongroom_cache_requests_total", "Reads of caches.", reads)
    for member, meaning in (
        ("evictions", "Entries that made room."),
        ("errors", "Failures of second levels."),
    ):
        counts = [({"pipeline": name}, getattr(stats, member)) for name, stats in caches]
        yield from _family(f"strongroom_cache_{member}_total", meaning, counts)
    summary = "Operations that the audit trail could not take."
    yield from _family("strongroom_audit_failures_total", summary, [({}, figures.audit_failures)])
    entries = [({"pipeline": name}, stats.entries) for name, stats in caches]
    yield from _family("strongroom_cache_entries", "Entries in memory.", entries)
    left = [({"pipeline": name}, seconds) for name, seconds in sorted(figures.lease_seconds_left.items())]
    yield from _family(
        "strongroom_lease_seconds_left", "Seconds until the first lease of this process ends.", left
    )
    yield from _family("strongroom_serve_draining", "Whether the server is ending.", [({}, int(draining))])


def _family(name: str, summary: str, values: Iterable[tuple[dict[str, str], float]]) -> Iterator[str]:
    yield f"# HELP {name} {summary}"
    yield f"# TYPE {name} {'counter' if name.endswith('_total') else 'gauge'}"
    for labels, value in values:
        yield f"{name}{_labels(labels.items())} {value}"


def _labels(pairs: Iterable[tuple[str, str]]) -> str:
    text = ",".join(f'{name}="{_escaped(value)}"' for name, value in pairs)
    return f"{{{text}}}" if text else ""


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
