"""Reads that are not older than what this client has seen, in a cluster whose standbys answer reads.

A standby of OpenBao answers a read from what it has, which may be older than what the active node gave.
Since 2.7 an answer on replicated storage says how far its node was, in `X-Vault-Index`; a request that shows
that again is answered by a node that is as far, or by the active one. Without it more than half of the reads
right after a write gave the value before, and a token of a moment ago was unknown.
Source: https://openbao.org/docs/next/concepts/consistency/
"""

from __future__ import annotations

import json
import threading
from binascii import a2b_base64
from collections.abc import Mapping
from typing import Any

__all__ = ["Seen"]

_INDEX = "X-Vault-Index"
_FORWARD = {"X-Vault-Inconsistent": "forward-active-node"}


class Seen:
    """How far the nodes were whose answers came; used by many threads."""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}
        """What the next request shows; empty where no server has said how far it is."""
        self._index = ""
        self._noting = threading.RLock()  # a signal handler may read in the middle of it

    def note(self, headers: Mapping[str, str], *, is_write: bool) -> None:
        """Take note of an answer: of the newest one; and of a write, where two cannot be compared."""
        index = headers.get("x-vault-index", "")
        if not index or index == self._index:
            return
        with self._noting:
            if _is_later(index, self._index, otherwise=is_write or not self._index):
                self.headers = {_INDEX: index, **_FORWARD}
                self._index = index

    def copy(self) -> Seen:
        """Return the same for a forked child, in which nobody may let go of the lock."""
        made = Seen()
        made.headers, made._index = self.headers, self._index
        return made


def _is_later(index: str, other: str, *, otherwise: bool) -> bool:
    """Return whether one index is later than another of the same cluster; `otherwise` if that is unknown."""
    (cluster, place), (others_cluster, others_place) = _read(index), _read(other)
    if cluster is None or cluster != others_cluster:
        return otherwise or cluster is not None
    return place > others_place


def _read(index: str) -> tuple[Any, int]:
    """Return the cluster and the place that an index of OpenBao names; None for one of another form."""
    try:
        found = json.loads(a2b_base64(index))
        return str(found["cluster"]), int(found["value"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return None, 0
