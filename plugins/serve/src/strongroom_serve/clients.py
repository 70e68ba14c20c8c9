"""The clients, found by a token, or by the user of the process at the other end of the socket."""

from __future__ import annotations

import os
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable

from strongroom.plugins import blake2b

from strongroom_serve.config import Client

__all__ = ["Clients", "GuessLimit"]


class Clients:
    """Finds the client of a token or of a user.

    Tokens are compared by a hash with a random key of this process, so that the time of a comparison says
    nothing about the tokens, even if a part of one was guessed.
    """

    def __init__(self, clients: Iterable[Client]) -> None:
        self._key = os.urandom(32)
        self._by_hash = {self._hash(one.token.encode()): one for one in clients if one.token is not None}
        self._by_uid = {one.uid: one for one in clients if one.uid is not None}

    def of_token(self, token: bytes) -> Client | None:
        """Return the client whose token this is."""
        return self._by_hash.get(self._hash(token))

    def of_uid(self, uid: int | None) -> Client | None:
        """Return the client of the process's user."""
        return None if uid is None else self._by_uid.get(uid)

    def _hash(self, token: bytes) -> bytes:
        return blake2b(token, key=self._key, digest_size=32).digest()


class GuessLimit:
    """Counts the wrong tokens of each peer: a burst is allowed, then a few a second.

    A request with a good token is always answered: on one machine all clients have the same address, and none
    should be able to lock others out.
    """

    def __init__(
        self, burst: int = 100, per_second: float = 1.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._burst = burst
        self._rate = per_second
        self._clock = clock
        self._peers: OrderedDict[object, tuple[float, float]] = OrderedDict()

    def wait_of(self, peer: object) -> float:
        """Count a wrong token, and return how many seconds the peer has to wait; 0 for none."""
        now = self._clock()
        left, at = self._peers.pop(peer, (float(self._burst), now))
        left = min(self._burst, left + (now - at) * self._rate) - 1
        self._peers[peer] = (max(left, 0.0), now)
        if len(self._peers) > 1024:  # noqa: PLR2004  # who comes from more addresses is not held up by memory
            self._peers.popitem(last=False)
        return 0.0 if left >= 0 else -left / self._rate
