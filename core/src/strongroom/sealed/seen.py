"""The newest states that this process has seen: what a store shows later must not be older."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Final, NamedTuple

from strongroom.sealed.record import Record

__all__ = ["Seen", "SeenStates"]

_REMEMBERED: Final = 65_536
"""The most secrets whose newest state a provider remembers."""


class Seen(NamedTuple):
    """The newest state of a secret that this process has seen."""

    record: Record
    head: bytes


class SeenStates:
    """The newest state of each secret of one store, by the name of its row."""

    def __init__(self) -> None:
        self._states: OrderedDict[bytes, Seen] = OrderedDict()
        self._store = b""
        self.after_fork()

    def after_fork(self) -> None:
        """Begin with a free lock: the thread that held it may be gone."""
        self._noting = threading.RLock()
        """Held for moments, while a state is noted."""

    def belong_to(self, store: bytes) -> None:
        """Forget everything unless it was seen in the store of this identity."""
        if store != self._store:
            with self._noting:
                self._states.clear()
            self._store = store

    def get(self, name: bytes) -> Seen | None:
        """Return the newest state of a secret, None if none was seen."""
        return self._states.get(name)

    def note(self, name: bytes, seen: Seen) -> None:
        """Remember a state unless a newer one is known."""
        known = self._states
        with self._noting:
            before = known.get(name)
            if before is None or seen.record.number > before.record.number:
                known[name] = seen
                if before is None and len(known) > _REMEMBERED:
                    known.popitem(last=False)

    def all(self) -> dict[bytes, Seen]:
        """Return a copy of all that is remembered."""
        with self._noting:
            return dict(self._states)
