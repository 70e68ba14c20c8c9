"""What a backend or a cache reports of the operation under way."""

from __future__ import annotations

from contextvars import ContextVar

from strongroom.hooks.events import Source

__all__ = ["report_source"]


class Observation:
    """Where a middleware notes what the caller got, for the event of the operation under way."""

    __slots__ = ("source", "sources")

    def __init__(self) -> None:
        self.source: Source | None = None
        self.sources: dict[str, Source] = {}  # of single keys, in a batch


observation: ContextVar[Observation | None] = ContextVar("strongroom_observation", default=None)


def report_source(source: Source, *keys: str) -> None:
    """Say where the value of the read under way came from, in a batch for which `keys`; caches call it.

    Without hooks it does nothing.
    """
    current = observation.get()
    if current is not None:
        current.source = source
        current.sources.update(dict.fromkeys(keys, source))
