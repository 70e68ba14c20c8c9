"""Counts for Prometheus. Labels are names of our own: no key, no tenant, no value, whatever clients ask."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping

__all__ = ["Counter", "Histogram", "Metrics", "text_of"]

_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Counter:
    """A count for each set of labels."""

    def __init__(self, name: str, summary: str, labels: tuple[str, ...]) -> None:
        self.name, self.summary, self.labels = name, summary, labels
        self._counts: dict[tuple[str, ...], int] = {}

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
    """What the server counts; it lives as long as the process, also when the spec is read again."""

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
        )
        self.reloads = Counter(
            "strongroom_serve_reloads_total", "Times the spec was read again.", ("outcome",)
        )


def text_of(metrics: Metrics, gauges: Mapping[str, tuple[str, list[tuple[dict[str, str], float]]]]) -> str:
    """Return all of it in Prometheus's text form.

    Args:
        metrics: What was counted.
        gauges: By name, what each means, and its values by labels.
    """
    lines: list[str] = []
    for one in (metrics.requests, metrics.duration, metrics.refused, metrics.reloads):
        lines += one.lines()
    for name, (summary, values) in gauges.items():
        lines += [f"# HELP {name} {summary}", f"# TYPE {name} gauge"]
        lines += [f"{name}{_labels(labels.items())} {value:g}" for labels, value in values]
    return "\n".join(lines) + "\n"


def _labels(pairs: Iterable[tuple[str, str]]) -> str:
    labels = ",".join(f'{name}="{_escaped(value)}"' for name, value in pairs)
    return f"{{{labels}}}" if labels else ""


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
