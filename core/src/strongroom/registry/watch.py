"""Watching secrets: one thread for each watch, which reports what has changed.

A watch keeps a *mark* of each secret that it knows: its version, or a keyed hash of its value if the backend
has no versions. Sources say which secrets may have changed; those with another mark are reported:

- A `Watchable` provider reports each version, and is believed. After an interruption everything is compared;
  until the provider has caught up with that, the keys that it reports are looked at.
- The registry's own writes and rotations say which keys to look at.
- All other sources are polled: in one batch if they are a `BatchDescriber`, else key by key, spread evenly
  over the interval.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext, suppress
from contextvars import Context
from datetime import UTC, datetime
from functools import partial
from types import TracebackType
from typing import Any, Final, Protocol, Self

from strongroom.errors import (
    BackendUnavailableError,
    ConfigurationError,
    UnsupportedOperationError,
    of_thread,
)
from strongroom.parallel import Condition, Take, never_collect, renew_after_fork, start_thread
from strongroom.pipeline import Pipeline, check_user_key
from strongroom.providers import SecretChange, Watchable
from strongroom.registry.watch_marks import MarkReader, keys_of
from strongroom.registry.watch_trouble import note_failure, note_success
from strongroom.registry.watched import Mark, Names, WatchedGroup, as_prefix, group_of, own_name
from strongroom.runtime.coroutines import refuse_async
from strongroom.runtime.pickling import ProcessBound
from strongroom.tenancy import TenantContext, current_tenant

__all__ = ["Watch"]

_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 30.0
_JOIN_SECONDS: Final = 10.0
_SHOWN: Final = 3
_log = logging.getLogger("strongroom.watch")

Callback = Callable[[list[SecretChange]], object]


class Watched(Protocol):
    """What a watch needs of its registry."""

    def answering(self, key: str, *, prefix: bool) -> Iterable[tuple[Pipeline, str, Any]]: ...
    def answers(self, route: Any, key: str) -> bool: ...
    def forget(self, chain: Any, key: str) -> None: ...
    def drop_watch(self, watch: Watch) -> None: ...
    def wake_watches(self) -> None: ...


class Watch(ProcessBound):
    """What `registry.watch` returns: it runs until it or the registry is closed. Also a context manager.

    Args:
        registry: The registry whose secrets are watched.
        keys: A key, or several; one that ends in `/` stands for all that begin with it, `/` for all.
        callback: Called with the list of what changed together.
        poll_seconds: How often backends are asked that do not report changes by themselves.
        clock: Monotonic seconds.

    Raises:
        ValueError: There are no keys.
        InvalidKeyError: One of them is not a key.
        ConfigurationError: `poll_seconds` is not above 0, or no pipeline answers a key.
    """

    def __init__(
        self,
        registry: Watched,
        keys: str | Iterable[str],
        callback: Callback,
        *,
        poll_seconds: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not poll_seconds > 0:
            raise ConfigurationError(f"poll_seconds must be above 0, got {poll_seconds}")
        if not callable(callback):
            raise TypeError(f"a {type(callback).__name__} is not a callback")
        refuse_async("watch", callback=callback)
        names = dict.fromkeys([keys] if isinstance(keys, str) else keys)
        if not names:
            raise ValueError("watch: no keys were given")
        self._registry = registry
        self._callback = callback
        self._poll_seconds = poll_seconds
        self._clock = clock
        self._tenant = current_tenant()
        self._reader = MarkReader()
        self._closed = False
        self._starting = False
        self._ended: list[Callable[[], object]] = []
        self._queue: deque[tuple[WatchedGroup, list[SecretChange]]] = deque()
        self._outbox: deque[tuple[WatchedGroup, list[SecretChange]]] = deque()
        self._arrivals = 0
        """Counts reports of the sources, so that the thread does not sleep if one came while it worked."""
        self._thread: threading.Thread | None = None
        self._lacks_thread = False
        self._changed = Condition()
        self._groups = self._grouped(names)

    def _grouped(self, keys: Iterable[str]) -> list[WatchedGroup]:
        groups: dict[tuple[int, Any], WatchedGroup] = {}
        for key in keys:
            prefix = as_prefix(key)
            asked = key if prefix is None else prefix
            for pipeline, listed, route in self._registry.answering(asked, prefix=prefix is not None):
                if prefix is None:
                    pipeline.check_with_hooks("watch", key, partial(check_user_key, key))
                group = groups.get((id(pipeline), route))
                if group is None:
                    begin = partial(group_of, pipeline, partial(self._registry.answers, route))
                    group = groups[id(pipeline), route] = pipeline.check_with_hooks("watch", key, begin)
                if prefix is None:
                    group.exact[key] = None
                else:
                    group.prefixes[listed] = None
        return list(groups.values())

    # --- the life of a watch ---

    def start(self) -> None:
        """Read the state to compare with, and begin; if this raises, `close` has to follow.

        Raises:
            StrongroomError: What reading the state raised, except an outage.
        """
        renew_after_fork(self, Watch._begin_again, rest=Watch._rest)
        self._starting = True
        for group in self._groups:
            group.due = self._clock() + self._poll_seconds
            group.pipeline.run_batch_with_hooks("watch", group.names(), partial(self._begin, group))
        self._starting = False
        self.wake()

    def _begin(self, group: WatchedGroup) -> dict[str, Any]:
        with suppress(BackendUnavailableError):  # it begins with the first answer
            self._compare_all(group)
        if not group.batched:
            self._next_round(group, [*group.exact, *group.marks])
            group.due = self._clock() + group.step
        found: dict[str, Any] = dict(group.marks) if group.known else dict.fromkeys(group.exact)
        return found | {prefix or "/": None for prefix in group.prefixes}

    def wake(self) -> None:
        """Make sure that the thread runs, also in a forked child."""
        with self._changed:
            if self._closed or self._thread is not None:
                return
            self._thread = threading.Thread(
                target=Context().run, args=(self._run,), name="strongroom-watch", daemon=True
            )
            try:
                start_thread(self._thread)
            except RuntimeError:  # the interpreter is on its way out, or the machine has no more threads
                self._thread = None
                self._registry.wake_watches()
                if not self._lacks_thread:
                    _log.warning("a watch has no thread: none can be started; the next use of it tries again")
            self._lacks_thread = self._thread is None

    @property
    def alive(self) -> bool:
        """Whether it goes on."""
        return not self._closed

    def close(self) -> None:
        """End it, after a call of the callback that is under way; a second call is harmless."""
        try:
            self._stop()
        except BaseException:  # of a signal handler: sources would go on to report to it
            self._stop()
            raise
        thread = self._thread
        try:
            if thread is not None and thread is not threading.current_thread():
                with suppress(RuntimeError):  # a signal handler raised before it was started
                    thread.join(_JOIN_SECONDS)
        finally:
            while self._ended:
                self._ended.pop(0)()

    def _stop(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._registry.drop_watch(self)
        for group in self._groups:
            self._unsubscribe(group)

    def when_closed(self, call: Callable[[], object]) -> None:
        """Call `call` when the watch is closed, or at once if it is."""
        with self._changed:
            if not self._closed:
                self._ended.append(call)
                return
        call()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        names = [name for group in self._groups for name in group.names()]
        return f"<Watch of {', '.join(names[:_SHOWN])}{', …' if len(names) > _SHOWN else ''}>"

    def _rest(self, take: Take) -> None:
        take(self._changed)

    def _begin_again(self) -> None:
        """Prepare a forked child, whose own watch begins with the next use of the registry."""
        self._changed = Condition()
        self._thread = None
        self._starting = False
        self._queue.clear()
        for group in self._groups:
            never_collect(*group.subscriptions)
            group.subscriptions = []
            group.rescan, group.due, group.pause = True, 0.0, 0.0

    # --- what the sources call ---

    def wrote(self, places: Mapping[str, list[str]]) -> None:
        """Look at what this registry wrote: the stored keys of each place."""
        noticed = False
        for group in self._groups:
            if group.believed:
                continue  # the source reports it by itself, with its version
            for place, names in group.places:
                for stored in places.get(place, ()):
                    key = own_name(names, stored)
                    if key is not None and group.watches(key):
                        with self._changed:
                            group.dirty.add(key)
                            noticed = True
        if noticed:  # at once: what was written together is reported together
            with self._changed:
                self._arrived()

    def _pushed(self, group: WatchedGroup, changes: list[SecretChange]) -> None:
        with self._changed:
            if not self._closed:  # else an interrupt has kept the subscription from being closed
                self._queue.append((group, changes))
                self._arrived()

    def _arrived(self) -> None:
        self._arrivals += 1
        self._changed.notify_all()

    # --- the thread ---

    def _run(self) -> None:
        with TenantContext(self._tenant) if self._tenant is not None else nullcontext():
            while not self._closed:
                seen = self._arrivals
                wait = self.work()
                with self._changed:
                    if seen == self._arrivals and not self._closed:
                        self._changed.wait(wait)

    def work(self) -> float | None:
        """Do what is due, and return the seconds until something will be; None for never."""
        for group in self._groups:
            try:
                self._work_on(group)
            except BaseException as error:  # noqa: BLE001  # whatever a provider raises, the watch goes on
                self._failed(group, of_thread(error))
        self._deliver()
        now = self._clock()
        waits = [
            max(group.due - now, 0.0)
            for group in self._groups
            if not group.pushes or group.rescan or group.pause
        ]
        return min([*waits, threading.TIMEOUT_MAX]) if waits else None

    def _work_on(self, group: WatchedGroup) -> None:
        now = self._clock()
        if group.pause and now < group.due:
            return
        if group.rescan or not group.known:
            self._compare_all(group)
        self._take_pushes(group)
        while group.dirty and group.known and not self._closed:
            with self._changed:
                keys = sorted(group.dirty)
            self._compare(group, keys)
            self._take_pushes(group)
        if group.rescan:
            self._compare_all(group)
        if not group.pushes and now >= group.due:
            self._poll(group, now)
        note_success(group)
        group.pause = 0.0

    def _failed(self, group: WatchedGroup, error: BaseException) -> None:
        """Try again after a pause; an outage is not a change."""
        note_failure(group, error)
        group.pause = min(
            max(group.pause * 2, _FIRST_PAUSE), _LONGEST_PAUSE, max(self._poll_seconds, _FIRST_PAUSE)
        )
        group.due = self._clock() + group.pause

    def _poll(self, group: WatchedGroup, now: float) -> None:
        if group.batched:
            group.due = now + self._poll_seconds
            self._compare_all(group)
            return
        if not group.round:
            listed = keys_of(group)
            new = [key for key in listed if key not in group.marks]  # first: their change is known already
            self._next_round(group, [*new, *listed, *group.marks])
            return
        key = group.round[0]
        marks = self._marks_of(group, [key])
        if not group.known:
            return  # it is compared by value from now on: all of it, at once
        asked = 1
        together = {key: None}
        if marks.get(key) != group.marks.get(key):  # what changed together is reported together
            asked = len(group.round)
            # Also those that were asked before it in this round: they may have changed with it.
            new = [one for one in keys_of(group) if one not in group.marks] if group.prefixes else []
            together = dict.fromkeys([*group.round, *group.exact, *group.marks, *new])
            marks |= self._marks_of(group, [one for one in together if one != key])
        self._note(group, marks, set(together))
        for _ in range(asked):
            group.round.popleft()
        group.due = max(group.due, now - group.step) + group.step * asked
        if not group.round and not group.prefixes:
            self._next_round(group, [*group.exact])

    def _next_round(self, group: WatchedGroup, keys: Iterable[str]) -> None:
        group.round.extend(dict.fromkeys(keys))
        group.step = self._poll_seconds / max(len(group.round), 1)
        group.due = max(group.due, self._clock()) if group.round else self._clock() + self._poll_seconds

    def _take_pushes(self, group: WatchedGroup) -> None:
        while True:
            with self._changed:
                queued = next((one for one in self._queue if one[0] is group), None)
                if queued is None:
                    return
                self._queue.remove(queued)
                pushed = queued[1]
                if not pushed:
                    group.rescan = True
                    continue
                if group.rescan or not group.known or not group.believed:
                    group.dirty.update(change.key for change in pushed if group.watches(change.key))
                    continue
                changes = [change for change in pushed if group.is_news(change)]
                if changes:
                    self._outbox.append((group, changes))
                unread = [one.key for one in changes if group.by_value and one.kind == "set"]
            if unread:
                group.marks |= self._marks_of(group, unread)

    # --- comparing ---

    def _compare_all(self, group: WatchedGroup) -> None:
        if group.believed and not group.known and not group.subscriptions:
            # The source may report a change of this moment late; `_note` sees which keys that concerns.
            group.marks = self._marks_of(group, keys_of(group))
        self._subscribe(group)
        group.rescan = False
        try:
            keys = keys_of(group)
            marks = self._marks_of(group, keys)
        except BaseException:
            group.rescan = True
            raise
        self._note(group, marks, {*keys, *group.marks})

    def _compare(self, group: WatchedGroup, keys: list[str]) -> None:
        group.dirty.difference_update(keys)
        try:
            marks = self._marks_of(group, keys)
        except BaseException:
            group.dirty.update(keys)
            raise
        if not group.known:  # as in `_poll`; what changed is not known any more, and is reported
            group.dirty.update(keys)
            return
        self._note(group, marks, set(keys))

    def _note(self, group: WatchedGroup, marks: Mapping[str, Mark], keys: set[str]) -> None:
        """Take over the marks of `keys`, and put those that differ from before into the outbox."""
        with self._changed:
            owed = set(group.dirty)
            # Reports that came meanwhile may be older than these marks: their keys are looked at again.
            for queued, changes in self._queue:
                if queued is group:
                    group.dirty.update(one.key for one in changes if one.key in keys)
            changes = group.take_over(marks, keys, owed, datetime.now(UTC))
            if changes:
                self._outbox.append((group, changes))

    def _marks_of(self, group: WatchedGroup, keys: list[str]) -> dict[str, Mark]:
        return self._reader.marks_of(group, keys, all_or_none=self._starting)

    # --- subscribing and reporting ---

    def _subscribe(self, group: WatchedGroup) -> None:
        if group.subscriptions or not group.listens or self._closed:
            return
        try:
            if group.believed:
                hear = partial(self._pushed, group)
                group.subscriptions = [group.chain.subscribe_changes(hear)]
            else:
                for provider, names in group.ways:
                    if isinstance(provider, Watchable):
                        hint = partial(self._hinted, group, names)
                        group.subscriptions.append(provider.subscribe_changes(hint))
        except UnsupportedOperationError:
            self._unsubscribe(group)
            group.listens = group.pushes = group.believed = False
        if self._closed:  # meanwhile, so that `close` has not seen these
            self._unsubscribe(group)

    def _hinted(self, group: WatchedGroup, names: Names, pushed: list[SecretChange]) -> None:
        keys = {key for one in pushed if (key := own_name(names, one.key)) is not None and group.watches(key)}
        with self._changed:
            group.dirty |= keys
            group.rescan = group.rescan or not pushed
            self._arrived()

    @staticmethod
    def _unsubscribe(group: WatchedGroup) -> None:
        while group.subscriptions:
            try:
                group.subscriptions[-1].close()
            except Exception as error:  # noqa: BLE001  # of a third party's; the others must be closed too
                _log.warning("watch: a subscription could not be closed: %s", type(error).__name__)
            group.subscriptions = group.subscriptions[:-1]  # only now, for a call after an interrupt

    def _deliver(self) -> None:
        while True:
            with self._changed:
                if self._closed or not self._outbox:
                    return
                # It stays until it was reported: a forked child reports it, too.
                group, changes = self._outbox[0]
            for change in changes:
                self._registry.forget(group.pipeline.inner, change.key)
            try:
                keys = [change.key for change in changes]
                group.pipeline.run_batch_with_hooks("change", keys, lambda keys=keys: dict.fromkeys(keys))  # type: ignore[misc]  # bound here
            except BaseException as error:  # noqa: BLE001  # a hook may raise anything, also an exit
                # The change is reported all the same: it holds no value, and these hooks can refuse a read of
                # that.
                _log.warning("watch: a hook refused the event of a change: %s", type(error).__name__)
            try:
                self._callback(list(changes))
            except BaseException as error:  # noqa: BLE001  # also an exit: it must not end the watch
                _log.error("watch: the callback failed: %s", type(error).__name__)  # it may hold a value
            with self._changed:
                if self._outbox:
                    self._outbox.popleft()
