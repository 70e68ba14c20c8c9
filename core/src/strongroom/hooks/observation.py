"""What a backend or a cache reports of the operation under way."""

from __future__ import annotations

from collections.abc import Iterable
from contextvars import ContextVar

from strongroom.hooks.events import Source

__all__ = ["report_source"]


class Observation:
    """Where a middleware notes what the caller got, for the event of the operation under way."""

    __slots__ = ("asks_others", "source", "sources")

    def __init__(self) -> None:
        self.asks_others = False  # operations within this one answer it
        self.source: Source | None = None
        self.sources: dict[str, Source] = {}  # of single keys, in a batch

    def begin_again(self, keys: Iterable[str], *, asks_others: bool) -> None:
        """Forget what was noted of `keys`: the next one is asked for them."""
        self.asks_others = asks_others
        self.source = None
        for key in keys:
            self.sources.pop(key, None)

    def source_of(self, key: str) -> Source:
        """Return where the value of `key` came from."""
        return self.sources.get(key) or self.source or "backend"


observation: ContextVar[Observation | None] = ContextVar("strongroom_observation", default=None)


def report_source(source: Source, *keys: str) -> None:
    """Say where the value of the read under way came from, in a batch for which `keys`; caches call it.

    Without hooks it does nothing.
    """
    current = observation.get()
    if current is not None:
        current.source = source
        current.sources.update(dict.fromkeys(keys, source))
