"""Those who hear of changes: what a `Watchable` provider keeps."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from strongroom.runtime.forks import Take, renew_after_fork

if TYPE_CHECKING:
    from strongroom.providers.metadata import SecretChange

__all__ = ["Subscribers"]

_log = logging.getLogger("strongroom.watch")


class Subscribers:
    """The callbacks that a provider tells of changes: each list to all of them, in order, one at a time.

    Callbacks run without any lock of the provider's, on the thread that tells or on one that is telling
    already. A callback that raises is logged and keeps its place; an exit or interrupt of the main thread is
    raised after all have been called. A forked child has none of its parent's.

    Attributes:
        present: Whether there is any, for writers who have nothing to do otherwise.

    Args:
        first: Called as the first callback comes; for providers that have to listen to somebody.
        last: Called as the last one has gone.
    """

    def __init__(
        self, first: Callable[[], object] | None = None, last: Callable[[], object] | None = None
    ) -> None:
        self._first = first
        self._last = last
        self._begin_again()
        renew_after_fork(self, Subscribers._begin_again, rest=Subscribers._rest)

    def _begin_again(self) -> None:
        self.present = False
        self._subscriptions: list[_Subscription] = []
        self._waiting: deque[tuple[Sequence[SecretChange], list[_Subscription]]] = deque()
        self._lock = threading.RLock()
        self._teller = 0
        """The thread that tells; 0 for none."""

    def _rest(self, take: Take) -> None:
        take(self._lock)

    def add(self, callback: Callable[[list[SecretChange]], object]) -> _Subscription:
        """Tell `callback` of changes until what is returned is closed."""
        subscription = _Subscription(self, callback)
        with self._lock:
            if not self._subscriptions and self._first is not None:
                self._first()
            self._subscriptions.append(subscription)
            self.present = True
        return subscription

    def queue(self, changes: Sequence[SecretChange]) -> None:
        """Put changes at the end of those that `tell` reports. For callers that hold a lock."""
        with self._lock:
            if self._subscriptions:
                self._waiting.append((changes, self._subscriptions.copy()))

    def tell(self, changes: Sequence[SecretChange] | None = None) -> None:
        """Tell all of what is queued, and of `changes` after it; an empty list says that some were missed."""
        if changes is not None:
            self.queue(changes)
        elif not self._waiting:
            return
        me = threading.get_ident()
        if self._teller == me:
            return  # a callback writes: the rest is reported after it
        interrupt: BaseException | None = None
        try:
            while (taken := self._taken(me)) is not None:
                batch, whom = taken
                for subscription in whom:
                    try:
                        subscription.tell(batch)
                    except BaseException as raised:  # noqa: BLE001  # the others must hear of it all the same
                        interrupt = raised
                        _tell_of_gap([subscription])
        except BaseException:  # of a signal handler, in between: nobody knows who has heard what
            _tell_of_gap(self._subscriptions)
            raise
        finally:
            with self._lock:
                if self._teller == me:
                    self._teller = 0
        if interrupt is not None:
            raise interrupt

    def _taken(self, me: int) -> tuple[Sequence[SecretChange], list[_Subscription]] | None:
        """Take what this thread has to tell next; None if there is nothing left for it."""
        with self._lock:
            if self._teller not in {0, me}:
                return None  # the thread that tells already takes the rest along
            self._teller = me if self._waiting else 0
            return self._waiting.popleft() if self._waiting else None

    def drop(self, subscription: _Subscription) -> None:
        """Take a subscription out."""
        with self._lock:
            self._subscriptions = [one for one in self._subscriptions if one is not subscription]
            if self.present and not self._subscriptions:  # also in a call after an interrupt
                self.present = False
                if self._last is not None:
                    self._last()


def _tell_of_gap(subscriptions: Sequence[_Subscription]) -> None:
    """Say that some changes were missed, so that subscribers look for themselves."""
    for subscription in tuple(subscriptions):
        with suppress(BaseException):  # the first interrupt is the one that is raised
            subscription.tell([])


class _Subscription:
    """One callback's place; `close` ends it, and a second call is harmless."""

    def __init__(self, owner: Subscribers, callback: Callable[[list[SecretChange]], object]) -> None:
        self._owner = owner
        self._callback: Callable[[list[SecretChange]], object] | None = callback

    def tell(self, changes: Sequence[SecretChange]) -> None:
        callback = self._callback
        if callback is None:
            return
        try:
            callback(list(changes))
        except BaseException as error:  # of a subscriber, also an exit; others must be called
            if not isinstance(error, Exception) and threading.current_thread() is threading.main_thread():
                raise  # perhaps of a signal handler: it is to end the process
            _log.warning("a callback of subscribe_changes failed: %s", type(error).__name__)

    def close(self) -> None:
        """End the subscription."""
        self._callback = None
        self._owner.drop(self)
