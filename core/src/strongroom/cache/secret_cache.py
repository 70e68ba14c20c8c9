"""The cache in the process."""

from __future__ import annotations

import itertools
import math
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

from strongroom.cache.backoff import Backoff
from strongroom.cache.entries import Entries, Entry
from strongroom.cache.outcomes import REFUSALS, checked, concerns_all, meaning, says_absent
from strongroom.cache.single_flight import (
    FetchResult,
    Flight,
    UnansweredError,
    WouldBlock,
    begin_fetch,
    non_blocking_read,
    refuse_own,
)
from strongroom.errors import (
    BackendUnavailableError,
    ConfigurationError,
    SecretNotFoundError,
    StrongroomError,
    of_thread,
    raisable_again,
    show_key,
)
from strongroom.hooks import report_source
from strongroom.hooks.observation import observation
from strongroom.keys import check_key
from strongroom.parallel import BackgroundPool, SingleEntryLock, renew_after_fork
from strongroom.runtime.logs import logger
from strongroom.runtime.pickling import ProcessBound
from strongroom.tenancy import context_of, current_tenant, open_tenants

if TYPE_CHECKING:
    from strongroom.cache.stats import CacheStats

__all__ = ["MOST_FETCHES", "SecretCache"]

_observed, _open_blocks = observation.get, open_tenants.get
Load = Callable[[str], FetchResult]
LoadMany = Callable[[list[str]], Mapping[str, FetchResult]]
_INHERITED_SECONDS: Final = 1.0
"""How long a forked child may give what its parent had read: it does not learn of its parent's writes."""
MOST_FETCHES: Final = 128
"""Fetches of one cache at a time; the others wait for their turn."""
_MOST_DESCRIBED: Final = 10_000
_log = logger("strongroom.cache")


class SecretCache(ProcessBound):
    """Remembers values for a time, and fetches each key once, however many callers want it.

    A fetch runs on the cache's own thread, in the context of the caller that began it. Other callers of the
    same key wait for it and get its value, or its error. If an invalidation comes during a fetch, the waiting
    callers get the value, but it is not kept. Keys belong to the active tenant.

    Args:
        ttl_seconds: How long a value is fresh.
        max_entries: Entries at most, over all tenants; the least recently read are evicted first.
        negative_ttl_seconds: How long "not found" is remembered; 0 does not.
        stale_if_error_seconds: How long an expired value is still returned while the backend is unavailable,
            but after no other error.
        refresh_ahead: The last part of a value's life, between 0 and 1, in which a read gets it at once and
            starts a fetch in the background.
        jitter: By how much a life may be shortened, between 0 and 1, at random for each value, so that values
            that were fetched together do not expire together.
        fetch_timeout_seconds: How long a caller waits for a fetch; None waits without end.
        clock: Monotonic seconds.

    Raises:
        ConfigurationError: A number is out of its range.
    """

    def __init__(
        self,
        ttl_seconds: float = 300,
        *,
        max_entries: int = 10_000,
        negative_ttl_seconds: float = 0,
        stale_if_error_seconds: float = 0,
        refresh_ahead: float = 0.0,
        jitter: float = 0.0,
        fetch_timeout_seconds: float | None = 60,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        check_at_least(0, ttl_seconds=ttl_seconds, negative_ttl_seconds=negative_ttl_seconds)
        check_at_least(0, stale_if_error_seconds=stale_if_error_seconds)
        check_at_least(1, max_entries=max_entries)
        check_share(refresh_ahead=refresh_ahead, jitter=jitter)
        self._ttl = ttl_seconds
        self._negative_ttl = negative_ttl_seconds
        self._stale = stale_if_error_seconds
        self._ahead = refresh_ahead
        self._jitter = jitter
        self._timeout = fetch_timeout_seconds
        self._clock = clock
        self.most_seconds: Callable[[], float] = lambda: math.inf
        """Returns how long what is fetched now may be remembered at most, also that there is nothing."""
        self._entries = Entries(max_entries, stale_if_error_seconds)
        self._by_tenant = self._entries.by_tenant
        self._hits = itertools.count()
        self._described: dict[tuple[str | None, str], str] = {}
        self._counts = {"hits": 0, "misses": 0, "stale": 0, "negative": 0, "errors": 0}
        self._pool = BackgroundPool(MOST_FETCHES, "strongroom-fetch")
        self._begin_again()
        renew_after_fork(self, SecretCache._after_fork)

    def get_or_fetch(self, key: str, fetch: Callable[[str], str]) -> str:
        """Return the value of `key`: the remembered one, else what `fetch(key)` returns.

        If `fetch` raises `KeyError(key)`, the secret does not exist; `ConnectionError` or `TimeoutError` mean
        that the backend is unavailable, and `PermissionError` that the read was denied.

        Raises:
            BackendUnavailableError: The fetch did not end in time. Else whatever `fetch` raises.
            TypeError: `fetch` returned something else than text.
        """
        value = self.fresh(key)
        return value if value is not None else self._read_slow(key, lambda asked: FetchResult(fetch(asked)))

    def fresh(self, key: str) -> str | None:
        """Return the value of `key` if it is remembered and fresh; else None: the slow path decides."""
        # The same as in `reader`, whose functions are bound once.
        try:
            entry = self._by_tenant[_open_blocks()[0].value][key]
        except (KeyError, TypeError, AttributeError):
            return None
        value = entry.value
        if value is not None and self._clock() < entry.fresh_until:
            entry.used = True
            next(self._hits)
            current = _observed()
            if current is not None:
                current.source = "l1"
            return value
        return None

    def reader(self, load: Load) -> Callable[[str], str]:
        """Return a function of a key that reads through the cache: the fast path, bound once."""
        by_tenant, clock, hits, slow = self._entries.by_tenant, self._clock, self._hits, self._read_slow
        observed, open_blocks = observation.get, open_tenants.get

        def read(key: str) -> str:
            entry: Entry | None
            try:
                # `current_tenant()`, written out; the slow path calls it if a block ended elsewhere.
                entry = by_tenant[open_blocks()[0].value][key]
            except (KeyError, TypeError, AttributeError):  # TypeError: it cannot be hashed, and is not a key
                entry = None
            if entry is not None:
                value = entry.value
                if value is not None and clock() < entry.fresh_until:
                    entry.used = True
                    next(hits)
                    current = observed()
                    if current is not None:
                        current.source = "l1"
                    return value
            return slow(key, load)

        return read

    def invalidate(self, key: str) -> None:
        """Forget `key` of the active tenant; a fetch of it that is under way is not kept."""
        self.forget(current_tenant(), key)

    def invalidate_prefix(self, prefix: str) -> None:
        """Forget all keys of the active tenant that begin with `prefix`."""
        tenant = current_tenant()
        with self._lock:
            self._entries.drop_where(tenant, lambda key: key.startswith(prefix))
            self._overtake(lambda one: one.tenant == tenant and one.key.startswith(prefix))

    def clear(self) -> None:
        """Forget everything of the active tenant."""
        self.invalidate_prefix("")

    def forget(self, tenant: str | None, key: str) -> None:
        """Forget `key` of `tenant`."""
        with self._lock:
            self._entries.drop(tenant, key)
            flight = self._flights.pop((tenant, key), None)
            if flight is not None:
                flight.kept = False

    def forget_everywhere(self, key: str) -> None:
        """Forget `key` of every tenant."""
        with self._lock:
            tenants = [tenant for tenant, space in self._entries.by_tenant.items() if key in space]
            tenants += [tenant for tenant, one in self._flights if one == key]
        for tenant in tenants:
            self.forget(tenant, key)

    def drop_all(self) -> None:
        """Forget everything of every tenant; see `HierarchicalSecretCache.drop_all`."""
        self.forget_all()

    def forget_all(self) -> None:
        """Forget everything of every tenant."""
        with self._lock:
            self._entries.drop_all()
            self._overtake(lambda _: True)

    def stats(self) -> CacheStats:
        """Return the counts, over all tenants."""
        from strongroom.cache.stats import CacheStats

        with self._lock:
            # The only way to read a counter without moving it.
            fast = int(repr(self._hits)[len("count(") : -1])
            return CacheStats(
                **{**self._counts, "hits": self._counts["hits"] + fast},
                evictions=self._entries.evictions,
                entries=len(self._entries),
            )

    def saw_version(self, key: str, version: str) -> bool:
        """Take note of the current version of `key`, and return whether it is known to have changed.

        An entry has that version only if a description showed it before the value was fetched, too. Any other
        entry may be older, and is forgotten.
        """
        tenant = current_tenant()
        with self._lock:
            if (tenant, key) not in self._described and len(self._described) >= _MOST_DESCRIBED:
                del self._described[next(iter(self._described))]
            self._described[tenant, key] = version
            entry, flight = self._entries.find(tenant, key), self._flights.get((tenant, key))
            known = [one.version for one in (entry, flight) if one is not None]
        if any(one != version for one in known):
            self.forget(tenant, key)
        return any(one not in {None, version} for one in known)

    def described(self, tenant: str | None, key: str) -> str | None:
        """Return the version of `key` that a description showed last, None where there was none."""
        return self._described.get((tenant, key))

    def holds(self, tenant: str | None, key: str) -> bool:
        """Return whether there is an entry of `key`, or a fetch under way."""
        with self._lock:
            return (tenant, key) in self._flights or self._entries.find(tenant, key) is not None

    def refuse_inner_write(self) -> None:
        """Refuse the write of a signal handler in the middle of this thread's own work on the entries.

        It could not forget what it writes, so that the old value would stay.

        Raises:
            BackendUnavailableError: This thread is at work on them.
        """
        self._lock.refuse_owner()

    @contextmanager
    def working(self) -> Iterator[None]:
        """Note that this thread launches fetches, or calls the backend or a store itself, in the block.

        What it has not launched as the block raises, as on an interrupt, is called off.
        """
        me = threading.get_ident()
        if me in self._at_work:
            yield
            return
        try:
            self._at_work.add(me)
            yield
        except BaseException:
            self._call_off(me)
            raise
        finally:
            self._at_work.discard(me)

    def _call_off(self, launcher: int) -> None:
        """End the fetches that a thread was about to begin: callers that wait for them ask again."""
        with self._lock:
            flights = [flight for flight in self._flights.values() if flight.launcher == launcher]
            for flight in flights:
                self._remove_flight(flight)
                self._backoff.end_probe(flight)
        for flight in flights:
            flight.future.set_exception(UnansweredError(InterruptedError(), named=True))

    def close(self) -> None:
        """Forget everything, and let threads that fetched end."""
        self.forget_all()
        self._pool.close()

    def _peek_many(self, tenant: str | None, keys: list[str]) -> tuple[dict[str, str], list[str]]:
        """Return the fresh values among `keys`, and the keys to ask for; the known absent are in neither."""
        values: dict[str, str] = {}
        missing: list[str] = []
        now = self._clock()
        with self._lock:
            for key in keys:
                entry = self._entries.find(tenant, key)
                if entry is None or now >= entry.expires:
                    missing.append(key)
                elif entry.value is not None:
                    values[key] = entry.value
                    entry.used = True
                    self._counts["hits"] += 1
                else:
                    self._counts["negative"] += 1
        return values, missing

    def read_many(
        self, keys: list[str], load: Callable[[list[str]], Mapping[str, FetchResult]]
    ) -> dict[str, str]:
        """Return the values of those of `keys` that are there; `load` is asked for what is missing, once.

        Keys that another caller is fetching are waited for, and not asked for again.

        Raises:
            SecretNotFoundError: One of them is not there for another reason than `absent`.
        """
        if self.is_interrupted():
            return {key: checked(one).value for key, one in load(keys).items()}
        tenant = current_tenant()  # once: its block may end meanwhile
        values, missing = self._peek_many(tenant, keys)
        if observation.get() is not None and len(missing) < len(keys):
            report_source("l1", *set(keys).difference(missing))
        while missing:
            missing = self._ask_together(tenant, missing, load, values)
        return values

    def _flights_of(
        self, tenant: str | None, missing: list[str], values: dict[str, str]
    ) -> tuple[dict[str, Flight], dict[str, Flight]]:
        """Return the flights to launch and those to wait for; add what is known by now to `values`."""
        mine: dict[str, Flight] = {}
        waited: dict[str, Flight] = {}
        with self._lock:
            now = self._clock()
            stale = self._stale_of_all(tenant, missing, now)
            if stale is not None:
                values.update({key: self._given_stale(entry, key) for key, entry in stale.items()})
                return {}, {}
            for key in missing:
                entry, flight = self._entries.find(tenant, key), self._flight_of(tenant, key, now)
                if entry is not None and entry.value is not None and now < entry.expires:
                    values[key] = entry.value  # another caller was faster
                    self._counts["hits"] += 1
                    continue
                self._counts["misses"] += 1
                if flight is None:
                    flight = mine[key] = self._new_flight(tenant, key, now)
                    if entry is not None and self._is_stale(entry, now):
                        self._backoff.begin_probe(flight)
                waited[key] = flight
        return mine, waited

    def _stale_of_all(self, tenant: str | None, keys: list[str], now: float) -> dict[str, Entry] | None:
        """Return the entries of `keys` if all are stale, and to be used: with one to ask for, all are."""
        entries: dict[str, Entry] = {}
        for key in keys:
            asked = self._flight_of(tenant, key, now) is not None
            if not self._backoff.should_serve_stale(now, asked=asked):
                return None
            entry = self._entries.find(tenant, key)
            if entry is None or not self._is_stale(entry, now):
                return None
            entries[key] = entry
        return entries

    def _ask_together(
        self, tenant: str | None, missing: list[str], load: LoadMany, values: dict[str, str]
    ) -> list[str]:
        """Add the values of `missing` to `values`; return the keys that are still not known."""
        with self.working():
            mine, waited = self._flights_of(tenant, missing, values)
            if mine:
                self._pool.start(partial(context_of(tenant).run, self._fetch_together, mine, load))
            for flight in mine.values():
                flight.launcher = 0
        left: list[str] = []
        refused: SecretNotFoundError | None = None
        for key, flight in waited.items():
            refuse_own(flight)
            try:
                values[key] = self._outcome(flight, self._timeout)
            except SecretNotFoundError as error:
                if error.reason == "absent":
                    report_source("backend", key)
                else:
                    refused = refused or error
            except UnansweredError as unanswered:
                if key in mine and not unanswered.named:
                    raise raisable_again(unanswered.error) from None
                left.append(key)
        if refused is not None:
            raise refused
        return left

    # --- the slow path ---

    def _begin_again(self) -> None:
        self._lock = SingleEntryLock("the cache")
        self._at_work: set[int] = set()
        self._flights: dict[tuple[str | None, str], Flight] = {}
        self._backoff = Backoff()

    def _after_fork(self) -> None:
        """Give a forked child a free lock and no flights; what it inherits is given for a moment only."""
        if self._lock.locked():
            self._entries.drop_all()  # half-changed by a thread that is gone
        else:
            self._entries.expire_by(self._clock() + _INHERITED_SECONDS)
        self._begin_again()

    def is_interrupted(self) -> bool:
        """Return whether the caller is a signal handler that interrupts this very cache.

        It has to ask the backend itself. A fetch by another thread would wait for a lock of this one, or may
        not have been launched yet.
        """
        return self._lock.is_mine() or threading.get_ident() in self._at_work

    def _read_slow(self, key: str, load: Load) -> str:
        if not isinstance(key, str):
            check_key(key)  # raises
        if self.is_interrupted():
            return checked(load(key)).value
        tenant, current_read = current_tenant(), non_blocking_read.get()
        flight = current_read.flight_of(self, tenant, key) if current_read is not None else None
        while True:
            if flight is None:
                with self.working():
                    with self._lock:
                        flight, answer, mine = self._plan_read(tenant, key)
                    if mine is not None:
                        self._pool.start(partial(context_of(tenant).run, self._run_fetch, mine, load))
                        mine.launcher = 0
                if isinstance(answer, SecretNotFoundError):
                    raise answer
                if answer is not None:
                    return answer
                assert flight is not None  # noqa: S101  # there is an answer or a flight
                refuse_own(flight)
                if current_read is not None:
                    raise WouldBlock(flight, self._timeout)
            try:
                return self._outcome(flight, self._timeout if current_read is None else 0)
            except UnansweredError:
                flight = None  # part of a batch that failed for another key: this one is asked for alone

    def _plan_read(
        self, tenant: str | None, key: str
    ) -> tuple[Flight | None, str | SecretNotFoundError | None, Flight | None]:
        """Return the flight to wait for or an answer, and the flight to launch."""
        now = self._clock()
        entry = self._entries.find(tenant, key)
        flight = self._flight_of(tenant, key, now)
        if entry is not None and now < entry.expires:
            if entry.missing is not None:
                self._counts["negative"] += 1
                report_source("l1")
                return None, raisable_again(entry.missing), None
            entry.used = True
            self._counts["hits"] += 1
            report_source("l1")
            # It may be fresh by now, if another caller was faster; then there is nothing to refresh.
            old = now >= entry.fresh_until
            ahead = old and flight is None and not self._backoff.should_serve_stale(now, asked=False)
            return None, entry.value, self._new_flight(tenant, key, now) if ahead else None
        stale = entry is not None and self._is_stale(entry, now)
        if entry is not None and stale and self._backoff.should_serve_stale(now, asked=flight is not None):
            return None, self._given_stale(entry, key), None
        self._counts["misses"] += 1
        if flight is not None:
            return flight, None, None
        flight = self._new_flight(tenant, key, now)
        if stale:
            self._backoff.begin_probe(flight)
        return flight, None, flight

    def _flight_of(self, tenant: str | None, key: str, now: float) -> Flight | None:
        """Return the fetch of `key` that is under way, None if there is none that may still end in time."""
        flight = self._flights.get((tenant, key))
        if flight is not None and self._timeout is not None and now - flight.started > self._timeout:
            self._abandon(flight)  # the caller that would do so was cancelled, or did not wait
            return None
        return flight

    def _new_flight(self, tenant: str | None, key: str, now: float) -> Flight:
        flight = self._flights[tenant, key] = Flight(self, tenant, key, now)
        flight.version = self._described.get((tenant, key))
        return flight

    def _is_stale(self, entry: Entry, now: float) -> bool:
        return entry.value is not None and now < entry.expires + self._stale

    def _given_stale(self, entry: Entry, key: str) -> str:
        assert entry.value is not None  # noqa: S101  # the caller has seen it, under the lock
        entry.used = True
        self._counts["stale"] += 1
        report_source("stale", key)
        return entry.value

    def _run_fetch(self, flight: Flight, load: Load) -> None:
        begin_fetch(flight)
        try:
            fetched = checked(load(flight.key))
        except BaseException as error:  # noqa: BLE001  # it is raised again by everybody who waits
            self._failed(flight, of_thread(error))
        else:
            self._store_result(flight, fetched)

    def _fetch_together(self, flights: Mapping[str, Flight], load: LoadMany) -> None:
        begin_fetch(*flights.values())
        try:
            fetched = {key: checked(one) for key, one in load(list(flights)).items()}
        except BaseException as error:  # noqa: BLE001  # as above
            self._failed_together(flights, of_thread(error))
            return
        for key, flight in flights.items():
            if key in fetched:
                self._store_result(flight, fetched[key])
            else:
                self._failed(flight, SecretNotFoundError(key))

    def _failed_together(self, flights: Mapping[str, Flight], error: BaseException) -> None:
        """Give the error to the flight whose key it names, or to all if it is not about one key."""
        if concerns_all(error):
            for flight in flights.values():
                self._failed(flight, error)
            return
        named = getattr(error, "key", None)
        for key, flight in flights.items():
            self._failed(flight, error if key == named else UnansweredError(error, named=named in flights))

    def _store_result(self, flight: Flight, fetched: FetchResult) -> None:
        try:
            with self._lock:
                now = self._remove_flight(flight)
                if fetched.source == "stale":
                    self._backoff.record_failure(now, now - flight.started)
                else:
                    self._backoff.record_success()
                if flight.kept:
                    self._keep(flight, fetched, now)
        except Exception as error:  # noqa: BLE001  # of a third party's clock or subscription
            _not_kept(error)
        finally:
            flight.future.set_result(fetched)  # whatever happens: others wait for it

    def _keep(self, flight: Flight, fetched: FetchResult, now: float) -> None:
        # Without `random`, whose import costs more than the whole cache in a process that reads one value.
        chance = int.from_bytes(os.urandom(4)) / 2**32
        life = min(self._ttl * (1 - self._jitter * chance), self.most_seconds())
        if fetched.max_age is not None:
            life = min(life, fetched.max_age)
        if life + self._stale <= 0:
            self._entries.drop(flight.tenant, flight.key)
            return
        entry = self._entries.put(flight.tenant, flight.key, now)
        entry.expires = now + life
        entry.fresh_until = now + life * (1 - self._ahead)
        entry.value = fetched.value
        entry.version = fetched.version if fetched.version is not None else flight.version

    def _failed(self, flight: Flight, error: BaseException) -> None:
        try:
            with self._lock:
                now = self._remove_flight(flight)
                translated = meaning(error, flight.key)
                if not isinstance(translated, SecretNotFoundError | UnansweredError):
                    self._counts["errors"] += 1
                if isinstance(translated, BackendUnavailableError):
                    self._backoff.record_failure(now, now - flight.started, translated)
                elif isinstance(translated, REFUSALS):
                    # An answer of the backend: what was remembered is no longer true, even as a stale value.
                    self._backoff.record_success()
                    if flight.kept:
                        self._entries.drop(flight.tenant, flight.key)
                        self._keep_missing(flight, translated, now)
        except Exception as failure:  # noqa: BLE001  # as above
            _not_kept(failure)
        finally:
            flight.future.set_exception(error)

    def _keep_missing(self, flight: Flight, error: StrongroomError, now: float) -> None:
        if (
            self._negative_ttl > 0
            and isinstance(error, SecretNotFoundError)
            and says_absent(error, flight.key)
        ):
            entry = self._entries.put(flight.tenant, flight.key, now)
            entry.missing = raisable_again(error)
            entry.expires = now + min(self._negative_ttl, self.most_seconds())

    def _remove_flight(self, flight: Flight) -> float:
        """Take the flight off the table, and return the time."""
        if self._flights.get((flight.tenant, flight.key)) is flight:
            del self._flights[flight.tenant, flight.key]
        return self._clock()

    def _outcome(self, flight: Flight, timeout: float | None) -> str:
        """Wait for a flight, `timeout` seconds at most, and return its value or raise its error."""
        error: BaseException | None
        try:
            error = flight.future.exception(timeout)  # waits, and returns what the fetch raised
        except TimeoutError:
            error = None if flight.future.done() else self._given_up(flight)
        if error is None:
            error = flight.future.exception()
        if error is None:
            fetched = flight.future.result()
            report_source(fetched.source, flight.key)
            if fetched.source == "stale":
                with self._lock:
                    self._counts["stale"] += 1
            return fetched.value
        if isinstance(meaning(error, flight.key), BackendUnavailableError):
            with self._lock:
                entry = self._entries.find(flight.tenant, flight.key)
                if entry is not None and self._is_stale(entry, self._clock()):
                    return self._given_stale(entry, flight.key)
        raise raisable_again(error)

    def _given_up(self, flight: Flight) -> BackendUnavailableError:
        """Return the error for a fetch that does not end, and let the next caller try again."""
        with self._lock:
            self._abandon(flight)
        return BackendUnavailableError(
            f"fetching {show_key(flight.key)} did not end within {self._timeout:g} s",
            key=flight.key,
            hint="see whether the backend answers: `strongroom doctor`",
        )

    def _abandon(self, flight: Flight) -> None:
        """Let the next caller begin a fetch: this one may never end."""
        now = self._remove_flight(flight)
        flight.kept = False
        self._backoff.record_failure(now, self._timeout or 0)
        self._backoff.end_probe(flight)

    def _overtake(self, of: Callable[[Flight], bool]) -> None:
        for name, flight in list(self._flights.items()):
            if of(flight):
                flight.kept = False
                del self._flights[name]

    def __repr__(self) -> str:
        return f"<{type(self).__name__} with {len(self._entries)} entries>"


def _not_kept(error: Exception) -> None:
    _log.warning("the result of a fetch could not be remembered: %s", type(error).__name__)


def check_at_least(least: float, **numbers: float) -> None:
    """Raise `ConfigurationError` unless all of `numbers` are at least `least`."""
    for name, number in numbers.items():
        if not number >= least:
            raise ConfigurationError(f"cache: {name} is at least {least:g}, got {number!r}")


def check_share(**numbers: float) -> None:
    """Raise `ConfigurationError` unless all of `numbers` are from 0 to 1."""
    for name, number in numbers.items():
        if not 0 <= number <= 1:
            raise ConfigurationError(f"cache: {name} is from 0 to 1, got {number!r}")
