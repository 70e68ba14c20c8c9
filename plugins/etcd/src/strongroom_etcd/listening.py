"""Listens for changes of others, by a watch on a thread, which continues after a lost connection."""

from __future__ import annotations

import logging
import os
import threading
from base64 import b64decode, b64encode
from collections.abc import Callable
from typing import Any, Final

from strongroom.clients import shut_down_socket
from strongroom.deadlines import Deadline
from strongroom.errors import AuthenticationError, PermissionDeniedError
from strongroom.parallel import never_collect, renew_after_fork, start_thread

from strongroom_etcd.client import Client
from strongroom_etcd.errors import DENIED, ServerError, translate
from strongroom_etcd.http import HTTPConnection, LostError, is_number

__all__ = ["Listener"]

_log = logging.getLogger("strongroom.etcd")
_CONNECT_SECONDS: Final = 10.0
_PAUSES: Final = (0.1, 5.0)
_SILENT_SECONDS: Final = 900.0
"""A member says every ten minutes how far it is: one that keeps the connection and says nothing hangs."""


Written = list[tuple[bytes, bytes | None]]


class _CancelledError(Exception):
    """The cluster ended the watch: what was asked for is compacted, or the token has ended."""


class Listener:
    """A subscription that ends at `close`. If it is cut off, it continues at the same revision.

    Args:
        client: Sends requests.
        start, end: The range of keys.
        changed: Called with the names of each transaction, or with None where some may have been missed.
        deadline: When the subscription must have begun.
    """

    def __init__(
        self,
        client: Client,
        start: bytes,
        end: bytes,
        changed: Callable[[Written | None], object],
        deadline: Deadline,
    ) -> None:
        self._client = client
        self._range = {"key": b64encode(start).decode(), "range_end": b64encode(end).decode()}
        self._cut = len(start)
        self._changed = changed
        self._next = 0
        self._missed = False
        self._refused = False
        self._ended = threading.Event()
        self._process = os.getpid()
        self._connection: HTTPConnection | None = None
        self._lines = self._begin(deadline)
        self._thread = threading.Thread(target=self._run, name="strongroom-etcd", daemon=True)
        renew_after_fork(self, Listener._after_fork)
        try:
            start_thread(self._thread)
        except RuntimeError:  # the machine has no more threads
            self._let_go()
            raise

    @property
    def ended(self) -> bool:
        """Whether it was closed, or is that of the process from which this one was forked."""
        return self._ended.is_set() or os.getpid() != self._process

    def close(self) -> None:
        """End it; a second call is harmless."""
        if self.ended:
            return
        self._ended.set()
        connection = self._connection
        if connection is not None:
            shut_down_socket(connection.socket)
        if threading.current_thread() is not self._thread:
            self._thread.join(_CONNECT_SECONDS)

    def _begin(self, deadline: Deadline) -> Any:
        """Ask for changes from where the last ones ended; return the messages once the watch is there."""
        first, messages = self._ask(deadline)
        # To a token that has ended the cluster says just what it says to a user without the right.
        if first.get("canceled") and self._client.forget_login():
            first, messages = self._ask(deadline)
        reached = int(first["header"]["revision"])
        if self._next > reached + 1 and not first.get("canceled"):
            # A snapshot was restored, or the member is behind: it says nothing until it is as far again.
            self._let_go()
            self._missed = True
            self._next = reached + 1
            first, messages = self._ask(deadline)
        if first.get("canceled"):
            raise ServerError(DENIED, str(first.get("cancel_reason", "")))
        if not self._next:
            self._next = reached + 1
        return messages

    def _ask(self, deadline: Deadline) -> tuple[dict[str, Any], Any]:
        """Return the first message, which says whether there is a watch, and those that follow."""
        asked = {**self._range, "start_revision": str(self._next), "progress_notify": True}
        connection, first, messages = self._client.stream(
            "/v3/watch", {"create_request": asked}, deadline, _SILENT_SECONDS
        )
        self._connection = connection
        header = first.get("header")
        revision = header.get("revision") if isinstance(header, dict) else None
        begun = bool(first.get("created")) and is_number(revision)
        if not begun or first.get("canceled"):
            connection.close()
        if not begun:
            raise LostError("no watch was begun")
        return first, messages

    def _run(self) -> None:
        pause = _PAUSES[0]
        while not self._ended.is_set():
            try:
                if self._connection is None:
                    self._lines = self._begin(Deadline(_CONNECT_SECONDS))
                if self._ended.is_set():
                    break  # `close` came while it began, and has not seen this connection
                if self._refused:
                    self._refused = False
                    _log.warning("changes at %s are received again", self._client.address)
                if self._missed:
                    self._missed = False
                    self._report(None)
                pause = _PAUSES[0]
                for message in self._lines:
                    self._take(message)
            except _CancelledError:
                pass
            except BaseException as error:  # noqa: BLE001  # whatever ended it, also an exit: it is tried again
                self._stopped(error)
            self._let_go()
            if not self._ended.wait(pause):
                pause = min(pause * 2, _PAUSES[1])
        self._let_go()  # of one that was closed before this thread began

    def _let_go(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _stopped(self, error: BaseException) -> None:
        """Log once that the permission is gone, and have the subscribers look, so that they get the error."""
        failed = translate(error, "watch") if isinstance(error, ServerError) else error
        if not isinstance(failed, AuthenticationError | PermissionDeniedError):
            _log.info("the watch stopped: %s", type(error).__name__)
        elif not self._refused:
            self._refused = True
            _log.warning(
                "changes at %s are not received (%s: %s); it is tried again",
                self._client.address, type(failed).__name__, failed,
            )  # fmt: skip
            self._report(None)

    def _take(self, message: dict[str, Any]) -> None:
        """Pass on the events of a message, those of each transaction together."""
        if message.get("canceled"):
            if int(message.get("compact_revision", 0)):
                self._next = 0
                self._missed = True
            raise _CancelledError
        if not message.get("events"):
            # So far nothing was missed: what is compacted meanwhile is not asked for again.
            self._next = max(self._next, int(message["header"]["revision"]) + 1)
        together: dict[int, Written] = {}
        for event in message.get("events", []):
            pair = event["kv"]
            written = (b64decode(pair["key"])[self._cut :], b64decode(pair.get("value", "")) or None)
            together.setdefault(int(pair["mod_revision"]), []).append(written)
        for revision, names in together.items():
            self._next = revision + 1
            self._report(names)

    def _report(self, names: Written | None) -> None:
        if self._ended.is_set():
            return
        try:
            self._changed(names)
        except BaseException as error:  # noqa: BLE001  # also an exit: the next change must arrive all the same
            _log.warning("a listener of etcd failed: %s", type(error).__name__)

    def _after_fork(self) -> None:
        """Drop it in a forked child, which does not have its thread."""
        if self._connection is not None:
            never_collect(self._connection.socket)
        self._connection = None
