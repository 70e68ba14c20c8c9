"""Keeps reads from being older than what this client has seen, if standbys of a cluster answer reads.

The data of a standby of OpenBao may be older than that of the active node. Since 2.7, on replicated storage,
an answer has the state of its node in `X-Vault-Index`. A request with that header is answered by a node with
at least that state, or by the active one. Without it more than half of the reads right after a write gave
the old value, and a new token was unknown.
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
    """The newest state that an answer had; used by many threads."""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}
        """The headers of the next request; empty if no answer had a state."""
        self._index = ""
        self._noting = threading.RLock()  # a signal handler may read in the middle of it

    def note(self, headers: Mapping[str, str], *, is_write: bool) -> None:
        """Note the state of an answer if it is newer, or cannot be compared and is of a write."""
        index = headers.get("x-vault-index", "")
        if not index or index == self._index:
            return
        with self._noting:
            if _is_later(index, self._index, otherwise=is_write or not self._index):
                self.headers = {_INDEX: index, **_FORWARD}
                self._index = index

    def copy(self) -> Seen:
        """Return a copy for a forked child, in which the lock may be held by a thread that is not there."""
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
    """Return the cluster and the place that an index of OpenBao names; None if it has another form."""
    try:
        found = json.loads(a2b_base64(index))
        return str(found["cluster"]), int(found["value"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return None, 0
