"""A guard around a store that may be down, slow or full of garbage, for the cache that uses it."""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextvars import ContextVar
from functools import partial
from typing import Any, Final, TypeVar
from weakref import WeakKeyDictionary

from strongroom.cache.secret_cache import MOST_FETCHES
from strongroom.cache.store import CacheStore, FencedStore, TimedStore
from strongroom.errors import BackendUnavailableError, ConflictError, StrongroomError, of_thread
from strongroom.parallel import BackgroundPool, SingleEntryLock, renew_after_fork
from strongroom.runtime.logs import logger

__all__ = ["ResilientStore"]

T = TypeVar("T")
_log = logger("strongroom.cache")
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 5.0
_REPLAY_SECONDS: Final = 0.25
_MOST_OWED: Final = 10_000
_DROPPERS: Final = 8
_FIRST_SECONDS: Final = 1.0
"""How much longer the first call may take: processes that start together share the CPUs."""
_LONGEST_SECONDS = threading.TIMEOUT_MAX / 2
"""Longer waits are too long for a lock, which refuses them."""
_SLICES: Final = 5
_PROBE_SECONDS: Final = 10.0
_held: ContextVar[tuple[tuple[str, ResilientStore], ...]] = ContextVar("strongroom_held", default=())
"""The names whose locks are held around the fetch that is under way here, each with its store."""


class ResilientStore:
    """Bounds every call to a `CacheStore`, and raises nothing.

    After a failure the store is left alone for a pause, which doubles up to five seconds while it fails.
    What had to be dropped in the meantime is owed to it: the drops are tried four times a second in the
    background, and nothing is read from the store before they are done. Locks are held, and drops are made,
    on threads of their own, so that fetches that take long hold up neither drops nor other reads.

    Args:
        store: The store. If it has a method `prepare`, that is called once before the first call, without a
            bound: it imports what calls need, which must not count against their time.
        timeout_seconds: How long a call may take.
        lock_seconds: How long a process may hold a key's lock, and how long others wait for it.
        clock: Monotonic seconds.

    Attributes:
        whose: What it belongs to, for the log.
    """

    def __init__(
        self,
        store: CacheStore,
        *,
        timeout_seconds: float,
        lock_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.store = store
        self.whose = ""
        self.errors = 0
        self._is_prepared = False
        self._timeout = min(timeout_seconds, _LONGEST_SECONDS)
        self._allowed = self._timeout + _FIRST_SECONDS
        self._lock_seconds = lock_seconds
        self._clock = clock
        self._pause = 0.0
        self._closed_until = float("-inf")
        # With the number of the request: one that comes while the name is being dropped is owed once more.
        self._owed: OrderedDict[str, int] = OrderedDict()
        self._namespaces: dict[str, int] = {}
        self._requests = itertools.count()
        self._same: WeakKeyDictionary[ResilientStore, bool] = WeakKeyDictionary()
        self._pool = BackgroundPool(name="strongroom-cache")
        self._holders = BackgroundPool(MOST_FETCHES, "strongroom-cache-lock")
        self._droppers = BackgroundPool(_DROPPERS, "strongroom-cache-drop")
        self._begin_again()
        renew_after_fork(self, ResilientStore._begin_again)

    def _begin_again(self) -> None:
        self._ended = threading.Event()
        self._lock = SingleEntryLock("the second level of the cache")
        self._preparing = SingleEntryLock("the second level of the cache")
        self._replaying = False

    def get(self, name: str) -> Any:
        """Return the data under `name`, or None if there is none or the store does not answer."""
        return self._call(lambda: self.store.get(name))

    def get_with_life(self, name: str) -> tuple[Any, float | None] | None:
        """Return the data under `name` and the seconds that it is kept, None if the store does not say."""
        store = self.store
        if not isinstance(store, TimedStore):
            data = self.get(name)
            return None if data is None else (data, None)

        def ask() -> tuple[Any, float] | None:
            found = store.get_with_life(name)
            return None if found is None else (found[0], float(found[1]))

        return self._call(ask)

    def drop_unreadable(self, name: str) -> None:
        """Drop an entry that cannot be read, and log it."""
        _log.warning("the second level of the cache holds an unreadable entry under %s", name)
        self.errors += 1
        self.drop([name])

    def set(self, name: str, data: bytes, ttl_seconds: float, token: int | None) -> None:
        """Keep `data`, unless it is out of date by `token`."""
        store = self.store
        if token is not None and isinstance(store, FencedStore):
            self._call(lambda: store.set_fenced(name, data, ttl_seconds, token))
        else:
            self._call(lambda: store.set(name, data, ttl_seconds))

    def drop(self, names: list[str], *, fences: Sequence[str] = ()) -> None:
        """Drop `fences` and then `names`, now or as soon as it can be done."""
        with self._lock:
            request = next(self._requests)
            self._owed.update(dict.fromkeys(fences, request))  # one that is owed keeps its place
            for name in names:
                self._owed[name] = request
                self._owed.move_to_end(name)
        self._settle_or_replay()

    def clear(self, namespaces: list[str]) -> None:
        """Drop all names that begin with one of `namespaces`, now or as soon as it can be done."""
        with self._lock:
            self._namespaces.update(dict.fromkeys(namespaces, next(self._requests)))
        self._settle_or_replay()

    def refuse_inner_write(self) -> None:
        """Refuse a write whose names could not be noted; see `SecretCache.refuse_inner_write`."""
        self._lock.refuse_owner()

    def is_fenced(self) -> bool:
        """Return whether it refuses by itself what is out of date."""
        return isinstance(self.store, FencedStore)

    def owes(self) -> bool:
        """Return whether something is still to be dropped."""
        with self._lock:
            return bool(self._owed or self._namespaces)

    def fault(self, *, reads_only: bool) -> Exception | None:
        """Use the store as a cache does, and return what it fails with; None if it works.

        Args:
            reads_only: Ask it for a name alone, and keep nothing there.
        """
        name, store, data = f"doctor:{os.urandom(8).hex()}", self.store, b"doctor"
        try:
            if reads_only:
                self._done(self._pool, lambda: store.get(name))
                return None
            self._done(self._pool, lambda: store.set(name, data, _PROBE_SECONDS))
            read_back = self._done(self._pool, lambda: store.get(name))
            self._done(self._droppers, lambda: store.delete(name))
        except Exception as error:  # noqa: BLE001  # of a third party's store; or out of time
            return error
        return None if read_back == data else BackendUnavailableError("what is written to it is not kept")

    @contextlib.contextmanager
    def holding(self, name: str) -> Iterator[int | None]:
        """Hold the lock of `name` for the block, which gets its token, or None if it cannot be had."""
        if not self.is_open():
            yield None
            return
        self._prepare()
        held = _held.get()
        # A cache around this one may hold this very lock, and gives it back only after the fetch.
        is_ours = any(one == name and self._is_same(outer) for one, outer in held)
        patience = 0.0 if is_ours else self._lock_seconds
        entered: Future[int] = Future()
        leave, left = threading.Event(), threading.Event()
        caller = threading.get_ident()

        def hold() -> None:
            # Entered and left by one thread: a lock may belong to the thread that took it.
            try:
                if threading.get_ident() == caller:  # there are no more threads, and it would wait for itself
                    raise ConflictError("no thread can hold the lock")  # noqa: TRY301  # as if another had it
                with self.store.lock(name, ttl_seconds=self._lock_seconds, wait_seconds=patience) as token:
                    entered.set_result(token)
                    leave.wait()
            except BaseException as error:  # noqa: BLE001  # of a third party's store
                if not entered.done():
                    entered.set_exception(of_thread(error))
            finally:
                left.set()

        self._holders.start(hold)
        inside = _held.set((*held, (name, self)))
        try:
            yield self._entered(entered, name)
        finally:
            _held.reset(inside)
            leave.set()
            # Wait: if the process ended now, others would have to wait until the lock expires.
            left.wait(self._timeout)

    def _is_same(self, outer: ResilientStore) -> bool:
        """Return whether `outer` is over the same store, whatever its object and address; also if unknown.

        To have one object is not needed for that, as with two clients of one server, and two addresses may
        lead to one server: what is kept by one is looked for by the other.
        """
        if outer.store is self.store:
            return True
        known = self._same.get(outer)
        if known is None:
            name, data = f"probe:{os.urandom(16).hex()}", os.urandom(16)
            if not outer._tried(outer._pool, lambda: outer.store.set(name, data, _PROBE_SECONDS))[0]:
                return True
            answered, there = self._tried(self._pool, lambda: self.store.get(name))
            if not answered:
                return True
            known = self._same[outer] = there is not None and bytes(there) == data
        return known

    def _entered(self, entered: Future[int], name: str) -> int | None:
        end = time.monotonic() + self._lock_seconds + self._timeout
        while True:
            try:
                return entered.result(self._timeout)
            except ConflictError:
                return None  # another process fetches for longer than anybody waits
            except TimeoutError:
                if entered.done():
                    return None
                # Either another process holds it, or the store hangs: a read shows which.
                self.get(name)
                if not self.is_open() or time.monotonic() > end:
                    return None
            except Exception as error:  # noqa: BLE001  # of a third party's store
                self.failed(error)
                return None

    def is_open(self) -> bool:
        """Return whether it is asked at present, and not left alone after a failure."""
        return self._clock() >= self._closed_until

    def _call(self, call: Callable[[], T]) -> T | None:
        """Return what `call` returns, None if it fails, takes too long, or is not tried."""
        if not (self.is_open() and self._settle()):
            return None
        return self._tried(self._pool, call)[1]

    def _prepare(self) -> None:
        if self._is_prepared:
            return
        with self._preparing:
            prepare = getattr(self.store, "prepare", None)
            if not self._is_prepared and callable(prepare):
                with contextlib.suppress(Exception):  # the call that follows shows what is wrong
                    prepare()
            self._is_prepared = True

    def close(self) -> None:
        """Try no more, and let the threads end that asked the store."""
        if self.owes():
            _log.warning(
                "the second level of the cache does not answer: what was to be dropped from it may still be "
                "read there until it expires"
            )
        self._ended.set()
        for pool in (self._pool, self._holders, self._droppers):
            pool.close()

    def _settle_or_replay(self) -> None:
        if self.is_open() and self._settle():
            return
        with self._lock:
            if self._replaying:
                return
            self._replaying = True
        self._droppers.start(partial(self._replay, threading.get_ident()))

    def _replay(self, caller: int) -> None:
        """Try until nothing is owed: other processes must not read for long what was dropped here."""
        if threading.get_ident() == caller:  # there are no more threads: the next call tries again
            self._replaying = False
            return
        while not self._ended.wait(_REPLAY_SECONDS):
            if not self._settle():
                continue
            self._closed_until = float("-inf")
            with self._lock:  # a drop that comes now either is seen here, or sees that nobody replays
                if not (self._owed or self._namespaces):
                    self._replaying = False
                    return
        self._replaying = False

    def _settle(self) -> bool:
        """Drop what is owed, and return whether nothing is owed any more."""
        end = time.monotonic() + self._timeout
        while True:
            with self._lock:
                if len(self._owed) > _MOST_OWED:
                    spaces = (f"{name.partition(':')[0]}:" for name in self._owed)
                    self._namespaces.update(dict.fromkeys(spaces, next(self._requests)))
                    self._owed.clear()
                # Names first: a fence among them has to fall before its namespace is cleared.
                owed: dict[str, int] = self._owed or self._namespaces
                drop: Callable[[str], None] = self.store.delete if owed is self._owed else self.store.clear
                name, request = next(iter(owed.items()), ("", -1))
            if request < 0:
                return True
            if not self._tried(self._droppers, partial(drop, name))[0]:
                return False
            with self._lock:
                if owed.get(name) == request:
                    del owed[name]
            if time.monotonic() > end:
                return False  # the next one goes on

    def _tried(self, crew: BackgroundPool, call: Callable[[], T]) -> tuple[bool, T | None]:
        try:
            result = self._done(crew, call)
        except Exception as error:  # noqa: BLE001  # of a third party's store; or out of time
            self.failed(error)
            return False, None
        if self._pause:
            _log.warning("the second level of the cache answers again")
        self._pause = 0.0
        return True, result

    def _done(self, crew: BackgroundPool, call: Callable[[], T]) -> T:
        """Return what `call` returns on a thread of `crew`; raise what it raises, or `TimeoutError`."""
        self._prepare()
        done: Future[T] = Future()

        def run() -> None:
            try:
                result = call()
            except BaseException as error:  # noqa: BLE001  # as above
                done.set_exception(of_thread(error))
            else:
                done.set_result(result)

        crew.start(run)
        return self._awaited(done)

    def _awaited(self, done: Future[T]) -> T:
        """Return what the call returned in its time; waiting for a CPU does not count."""
        allowed, self._allowed = self._allowed, self._timeout
        for _ in range(_SLICES):
            # A thread that wakes up late has waited for a CPU, not for the store: that counts as one slice.
            with contextlib.suppress(TimeoutError):
                return done.result(allowed / _SLICES)
            if done.done():
                break
        return done.result(0)

    def failed(self, error: Exception) -> None:
        """Take note that the store, or what encrypts for it, failed."""
        self.errors += 1
        if not self.is_open():
            return  # several calls were under way as it failed
        self._pause = min(max(self._pause * 2, _FIRST_PAUSE), _LONGEST_PAUSE)
        self._closed_until = self._clock() + self._pause
        # strongroom's errors name the address, and hold no value; a third party's may hold anything.
        said = f": {error}" if isinstance(error, StrongroomError) else ""
        _log.warning(
            "the second level of the cache%s failed (%s%s); it is left alone for %g s",
            self.whose, type(error).__name__, said, self._pause,
        )  # fmt: skip
