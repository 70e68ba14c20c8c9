"""Listens for names that others drop, by a thread with its own connection, which notices a loss at once."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from strongroom.errors import AuthenticationError
from strongroom.parallel import start_thread

from strongroom_redis.connection import disconnect
from strongroom_redis.errors import translate

__all__ = ["ALL", "SILENT_SECONDS", "Listener"]

ALL: Final = b"*"
"""Published if any name may have been dropped; it is not a name."""

SILENT_SECONDS: Final = 0.7
"""A connection that is silent for longer counts as lost."""

_log = logging.getLogger("strongroom.cache")
_PING_SECONDS: Final = 0.2
_CONNECT_SECONDS: Final = 5.0
_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 0.5


class Listener:
    """A subscription to a channel of the server that ends at `close`.

    It pings the server up to five times a second. One whose last answer was asked for more than 0.7 s ago
    counts as lost: the subscriber hears that any name may have been dropped, once then and once more as
    the channel is back.

    Args:
        connect: Makes a client.
        channel: The channel's name.
        callback: Called with each name, or with None for any.
        refused: Called if the login is refused, before it is tried again.
    """

    def __init__(
        self,
        connect: Callable[[], Any],
        channel: str,
        callback: Callable[[str | None], object],
        refused: Callable[[], object],
    ) -> None:
        self._refused = refused
        self._connect = connect
        self._channel = channel
        self._callback = callback
        self._ended = threading.Event()
        self._alive = False
        self._asked = self._heard = float("-inf")
        self._client: Any = None
        self._process = os.getpid()
        self._thread = threading.Thread(target=self._run, name="strongroom-redis", daemon=True)
        start_thread(self._thread)
        try:
            start_thread(threading.Thread(target=self._watch, name="strongroom-redis-watch", daemon=True))
        except RuntimeError:  # the machine has no more threads
            self._ended.set()
            raise

    @property
    def alive(self) -> bool:
        """Whether drops of others arrive at present: never in a forked child, which has no thread."""
        # By the time as well: the thread may be in a read that a server lets drip, or in a slow callback.
        recent = time.monotonic() - self._heard <= SILENT_SECONDS
        return self._alive and recent and not self.ended

    @property
    def ended(self) -> bool:
        """Whether it was closed, or is that of the process from which this one was forked."""
        return self._ended.is_set() or os.getpid() != self._process

    def connect_again(self) -> None:
        """Leave the server, which is not the primary any more, for the one to which the address leads now."""
        if os.getpid() == self._process and (client := self._client) is not None:
            disconnect(client)

    def close(self) -> None:
        """End it; a second call is harmless."""
        self._ended.set()
        if os.getpid() == self._process and threading.current_thread() is not self._thread:
            if (client := self._client) is not None:
                disconnect(client)  # so that the thread waits for no message until it is time for a ping
            self._thread.join(SILENT_SECONDS)

    def _run(self) -> None:
        pause = _FIRST_PAUSE
        while not self._ended.is_set():
            heard = False
            try:
                heard = self._listen()
            except BaseException as error:  # noqa: BLE001  # whatever ended it, also an exit: it is tried again
                heard = self._alive
                self._note_refusal(error)
            if self._alive:
                self._alive = False
                self._report(None)
            pause = _FIRST_PAUSE if heard else min(pause * 2, _LONGEST_PAUSE)
            self._ended.wait(pause)

    def _note_refusal(self, error: BaseException) -> None:
        # After a refusal alone: the password may be in a backend, and each process would ask there twice a
        # second while this server is down.
        if not isinstance(error, Exception):
            return
        if isinstance(translate(error, "listening", ""), AuthenticationError):
            with contextlib.suppress(BaseException):  # that backend may be down: it is tried again
                self._refused()

    def _watch(self) -> None:
        """Close a connection in which the thread hangs, as when a server sends single bytes."""
        while not self._ended.wait(_PING_SECONDS):
            allowed = SILENT_SECONDS if self._alive else _CONNECT_SECONDS
            if time.monotonic() - self._heard > allowed and self._client is not None:
                disconnect(self._client)

    def _listen(self) -> bool:
        """Pass on messages until the channel is lost; return whether it was ever there."""
        self._heard = time.monotonic()
        client = self._client = self._connect()
        try:
            with contextlib.closing(_one_node(client).pubsub()) as channel:
                self._hear(channel)
        finally:
            disconnect(client)
        return self._alive

    def _hear(self, channel: Any) -> None:
        channel.subscribe(self._channel)
        self._asked, waiting = time.monotonic(), True  # the subscription is an answer as well
        self._heard = self._asked
        while not self._ended.is_set():
            now = time.monotonic()
            if now - self._heard > SILENT_SECONDS:
                break
            if not waiting and now - self._asked >= _PING_SECONDS:
                self._asked, waiting = now, True
                channel.ping()
            message = channel.get_message(timeout=_PING_SECONDS)
            if message is not None:
                waiting = not self._take(message) and waiting

    def _take(self, message: dict[str, Any]) -> bool:
        """Pass on a message; return whether it is the expected answer."""
        if message["type"] in {"subscribe", "pong"}:
            # All that was published before this was asked has arrived. A message tells nothing of the kind: a
            # channel that falls behind has many.
            self._heard = self._asked
        if message["type"] == "subscribe":
            # Nothing is missed from now on, but names may have been dropped before: who asks `alive` may
            # trust what it has only when the subscriber has forgotten that.
            self._report(None)
            self._alive = True
        elif message["type"] == "message":
            name = message["data"]
            # What is not text names nothing, so that anything may be meant.
            self._report(None if name == ALL or not _is_text(name) else name.decode())
        return message["type"] in {"subscribe", "pong"}

    def _report(self, name: str | None) -> None:
        if self._ended.is_set():
            return
        try:
            self._callback(name)
        except BaseException as error:  # noqa: BLE001  # also an exit: the next drop must arrive all the same
            _log.warning("a listener of the redis cache failed: %s", type(error).__name__)


def _one_node(client: Any) -> Any:
    """Return a client of one node; in a cluster any will do, as each passes on all messages."""
    if not hasattr(client, "get_primaries"):
        return client
    return client.get_redis_connection(random.choice(client.get_primaries()))  # noqa: S311  # spreads the load


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
