"""Live leases: one for each key, renewed and replaced before it ends, however many threads ask."""

from __future__ import annotations

import heapq
import logging
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager, suppress
from contextvars import Context
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Final

from strongroom.errors import (
    BackendUnavailableError,
    SecretNotFoundError,
    StrongroomError,
    UnsupportedOperationError,
    raisable_again,
    show_error,
    show_key,
)
from strongroom.leases.calls import LeaseCalls, LeaseName, Observer
from strongroom.leases.held import HeldLease, LeaseTimes
from strongroom.leases.process_end import is_at_the_end, revoke_at_exit
from strongroom.parallel import (
    BackgroundPool,
    Condition,
    SingleEntryLock,
    Take,
    in_parallel,
    renew_after_fork,
    start_thread,
)
from strongroom.providers import Lease
from strongroom.tenancy import current_tenant

if TYPE_CHECKING:
    from strongroom.leases.ledger import ProcessLedger
    from strongroom.providers import LeaseProvider

__all__ = ["LiveLeases"]

_LAPSED_SECONDS: Final = 0.5
"""How long readers of a lease that has ended get the error of the last try."""
_PATIENCE_SECONDS: Final = 60.0
_CHECK_SECONDS: Final = 1.0
_UNASKED_SECONDS: Final = 60.0
_UNASKED_PART: Final = 1 / 12
"""How long, and for which part of its life, a lease that cannot be renewed is not replaced by a check."""
_REVOKING_SECONDS: Final = 30.0
"""How long the end of a process may take to revoke its leases if each try fails."""
_ISSUING_SECONDS: Final = 10.0
"""How long the end of a process waits for leases that other threads are being issued."""
_WORKERS: Final = 4
_LONGEST_WAIT: Final = 60.0
_BOOT_CLOCK: Final[int | None] = getattr(time, "CLOCK_BOOTTIME", None)
_log = logging.getLogger("strongroom.leases")
_chance: Final = random.SystemRandom()
"""The system's generator: processes differ, even after a fork."""


def _seconds_since_boot() -> float:
    """Return monotonic seconds; on Linux they pass while the machine sleeps, too, as the server's do."""
    if _BOOT_CLOCK is None:
        return time.monotonic()
    return time.clock_gettime(_BOOT_CLOCK)


class _Flight(Future[HeldLease]):
    """A lease that is being issued; a signal handler that interrupts that must not wait for it.

    Args:
        generation: Counts the ends of all leases so far: what comes after the next one is late.
    """

    def __init__(self, generation: int) -> None:
        super().__init__()
        self.thread = threading.get_ident()
        self.generation = generation


class _FetchInterruptedError(Exception):
    """The thread that asked for a lease was interrupted: those that waited for it ask by themselves."""


class LiveLeases:
    """The leases of one provider in this process.

    Args:
        provider: Issues, renews and revokes.
        by_tenant: Whether each tenant has leases of its own.
        ledger: Where they are noted.
        observer: Returns the pipeline whose hooks see the operations, None if there is none.
        asked_as: Returns the callers' key for the provider's key.
        changed: Called with each lease that replaces another.
        clock: Monotonic seconds.
        now: The aware time now.
        uniform: Draws a number between two others.
    """

    def __init__(
        self,
        provider: LeaseProvider,
        *,
        by_tenant: bool = False,
        ledger: ProcessLedger | None = None,
        observer: Callable[[], Observer | None] = lambda: None,
        asked_as: Callable[[str], str] = lambda key: key,
        changed: Callable[[LeaseName, Lease], object] | None = None,
        clock: Callable[[], float] = _seconds_since_boot,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        uniform: Callable[[float, float], float] = _chance.uniform,
    ) -> None:
        self._calls = LeaseCalls(provider, ledger, observer, asked_as)
        self._by_tenant = by_tenant
        self._changed_to = changed
        self._clock = clock
        self._times = LeaseTimes(clock, now, uniform)
        self._given: dict[LeaseName, str] = {}
        """The text that was returned last, also by the parent of a forked process."""
        self._subscribers: dict[LeaseName, list[Callable[[Lease], object]]] = {}
        self._pool = BackgroundPool(_WORKERS, "strongroom-leases")
        self._begin_again()
        renew_after_fork(self, LiveLeases._begin_again, rest=LiveLeases._rest)

    def _begin_again(self) -> None:
        """Begin without leases; in a forked child, the parent keeps its own."""
        self._held: dict[LeaseName, HeldLease] = {}
        self._retired: list[HeldLease] = []
        self._lapsed: dict[LeaseName, tuple[float, StrongroomError]] = {}
        self._flights: dict[LeaseName, _Flight] = {}
        self._due: list[tuple[float, int, HeldLease]] = []
        self._count = 0
        self._generation = getattr(self, "_generation", 0) + 1
        self._thread: threading.Thread | None = None
        self._changed = Condition()

    def _rest(self, take: Take) -> None:
        take(self._changed)

    # --- reading ---

    def name_of(self, key: str) -> LeaseName:
        """Return the name of the lease that a read of `key` uses."""
        return (current_tenant() if self._by_tenant else None, key)

    def text(self, key: str) -> str:
        """Return the values of the live lease of `key` as a JSON object."""
        name = (current_tenant() if self._by_tenant else None, key)
        held = self._held.get(name)
        if held is not None and self._clock() < held.ends:
            return held.text
        return self._live(name).text

    def texts(self, keys: Iterable[str]) -> dict[str, str]:
        """Return what `text` does, for those of `keys` that have leases."""
        values = {}
        tenant = current_tenant() if self._by_tenant else None  # once: its block may end meanwhile
        for key in dict.fromkeys(keys):
            held = self._held.get((tenant, key))
            try:
                if held is None or self._clock() >= held.ends:
                    held = self._live((tenant, key))
            except SecretNotFoundError as error:
                if error.reason != "absent":
                    raise
            else:
                values[key] = held.text
        return values

    def lease(self, name: LeaseName) -> Lease:
        """Return the live lease.

        Raises:
            BackendUnavailableError: It has ended, and could not be renewed or replaced.
        """
        return self._live(name).lease

    def least_seconds_left(self) -> float | None:
        """Return the seconds until the first of the leases held ends, without I/O; None if none is held."""
        ends = [held.ends for held in list(self._held.values())]
        return max(min(ends) - self._clock(), 0.0) if ends else None

    def seconds_left(self, name: LeaseName) -> tuple[float, float]:
        """Return the seconds until the values end, and the seconds that they had when they were new."""
        held = self._live(name)
        return held.ends - self._clock(), held.life

    def seconds_left_now(self, name: LeaseName) -> tuple[float, float] | None:
        """Return what `seconds_left` does, without I/O; None if no lease is live."""
        held = self._held.get(name)
        left = held.ends - self._clock() if held is not None else 0.0
        return (left, held.life) if held is not None and left > 0 else None

    def current(self, *, revocable: bool = False) -> dict[LeaseName, Lease]:
        """Return the leases that are held now; with `revocable`, those that do not only end by themselves."""
        held = {name: one.lease for name, one in list(self._held.items())}
        return {name: one for name, one in held.items() if self._calls.ends(one)} if revocable else held

    def subscribe(self, name: LeaseName, callback: Callable[[Lease], object]) -> Callable[[], None]:
        """Call `callback` with each lease that replaces another; the returned handle ends that."""
        with self._changed:
            self._subscribers.setdefault(name, []).append(callback)

        def end() -> None:
            with self._changed:
                known = self._subscribers.get(name, [])
                if callback in known:
                    known.remove(callback)

        return end

    def check(self, name: LeaseName) -> None:
        """Ask the server whether the lease still lives, and replace it if it does not.

        For a caller whose login with its values was refused. The server is asked at most once a second for
        each lease; callers that come meanwhile wait for its answer. Nothing can be asked about a lease that
        is not renewable: it is replaced, but less often, for it may not be the reason.
        """
        held = self._held.get(name)
        # A callback of the lease, or a signal handler, may ask in the middle of what it asks for.
        if held is None or held.lock.is_mine() or not held.lock.acquire(timeout=_CHECK_SECONDS):
            return
        try:
            pause = _CHECK_SECONDS
            if held.lease.id and not held.lease.renewable:  # without an id, reading again makes nothing
                pause = max(pause, min(held.life * _UNASKED_PART, _UNASKED_SECONDS))
            if self._held.get(name) is held and self._clock() - held.checked >= pause:
                self._act(held, asked=True)
        finally:
            held.lock.release()

    # --- issuing ---

    def _live(self, name: LeaseName) -> HeldLease:
        while True:
            with suppress(_FetchInterruptedError):
                return self._fetched(name)

    def _fetched(self, name: LeaseName) -> HeldLease:
        """Return the live lease; if there is none, issue it, or wait for the thread that does."""
        held = self._held.get(name)
        if held is not None and self._clock() < held.ends:
            return held
        with self._taking_off(name) as own:
            with self._changed:
                held = self._held.get(name)
                if held is not None and self._clock() < held.ends:
                    return held
                until, error = self._lapsed.get(name, (0.0, None))
                if error is not None and self._clock() < until:
                    raise self._lapse(name, error)
                flight = self._flight(name, own)
            if flight is own:
                self._run_fetch(name, flight)
        try:
            return flight.result(_PATIENCE_SECONDS)
        except TimeoutError:
            failed: StrongroomError = BackendUnavailableError(
                f"no lease for {show_key(name[1])} came in time",
                key=name[1],
                hint="see whether the server answers",
            )
        except StrongroomError as raised:
            failed = raisable_again(raised)
        raise failed if held is None else self._lapse(name, failed)

    @staticmethod
    def _lapse(name: LeaseName, error: StrongroomError) -> BackendUnavailableError:
        """Return the error for a lease that has ended and could not be replaced."""
        failed = BackendUnavailableError(
            f"the lease of {show_key(name[1])} has ended, and could not be renewed or replaced "
            f"({type(error).__name__})",
            key=name[1],
            provider=error.provider,
            hint=error.hint,
        )
        failed.__cause__ = error
        return failed

    @contextmanager
    def _taking_off(self, name: LeaseName) -> Iterator[_Flight]:
        """Give a flight, for `_flight`; it is called off if a signal handler raises before it has begun."""
        own = _Flight(self._generation)
        try:
            yield own
        except BaseException:
            with self._changed:
                mine = self._flights.get(name) is own
                if mine:
                    del self._flights[name]
            if mine:
                own.set_exception(_FetchInterruptedError())
            raise

    def _flight(self, name: LeaseName, own: _Flight) -> _Flight:
        """Return the flight under way, else `own`, which begins; the caller has the lock."""
        under_way = self._flights.get(name)
        if under_way is None:
            if self._calls.can_revoke and is_at_the_end():
                raise BackendUnavailableError(
                    f"no lease for {show_key(name[1])}: the process is ending",
                    key=name[1],
                    hint="functions at the exit may read if they are registered after `import strongroom`",
                )
            own.generation = self._generation
            self._flights[name] = own
            return own
        if under_way.thread == threading.get_ident():
            raise SingleEntryLock(f"the lease of {show_key(name[1])}").refusal()
        return under_way

    def _run_fetch(self, name: LeaseName, flight: _Flight) -> bool:
        """Issue a lease for all callers that wait for `flight`, and return whether that succeeded."""
        try:
            return self._fetch_for(name, flight)
        finally:
            if not flight.done():  # Ctrl-C, an exit, an error of a signal handler: for this thread alone
                with self._changed:
                    self._flights.pop(name, None)
                flight.set_exception(_FetchInterruptedError())

    def _fetch_for(self, name: LeaseName, flight: _Flight) -> bool:
        try:
            held = self._issued(name)
        except Exception as error:  # noqa: BLE001  # those who wait for it get it
            with self._changed:
                self._flights.pop(name, None)
                if isinstance(error, StrongroomError) and name in self._held:
                    self._lapsed[name] = (self._clock() + _LAPSED_SECONDS, error)
            flight.set_exception(error)
            return False
        late, subscribers = self._keep(name, flight, held)
        if late:  # it was closed meanwhile
            self._calls.revoke(name, held.lease)
            flight.set_exception(BackendUnavailableError("the registry was closed"))
            return False
        flight.set_result(held)
        self._forget_ended()
        self._call_all(subscribers, held.lease)
        return True

    def _keep(
        self, name: LeaseName, flight: _Flight, held: HeldLease
    ) -> tuple[bool, list[Callable[[Lease], object]]]:
        """Hold a new lease; return whether it is too late for that, and the subscribers to call."""
        try:
            with self._changed:
                late, subscribers = flight.generation != self._generation, []
                if not late:
                    before = self._held.get(name)
                    if before is not None:  # even one that has ended: the ledger does not know that yet
                        self._retired.append(before)
                    self._held[name] = held
                    self._lapsed.pop(name, None)
                    subscribers = self._note_text(name, held.text)
                    self._schedule(held)
                self._flights.pop(name, None)
        except BaseException:  # of a signal handler
            if self._held.get(name) is held:
                with self._changed:
                    self._schedule(held)
            else:
                self._calls.revoke(name, held.lease)
            raise
        return late, subscribers

    def _issued(self, name: LeaseName) -> HeldLease:
        """Issue a lease; one that cannot be held, as after an interrupt, is revoked at once."""
        started = self._clock()
        lease = self._calls.issue(name)
        try:
            return self._hold(name, lease, started)
        except BaseException:
            self._calls.revoke(name, lease)
            raise

    def _hold(self, name: LeaseName, lease: Lease, started: float) -> HeldLease:
        held = self._times.hold(name, lease, started)
        self._calls.show_values(lease)
        return held

    # --- renewing and replacing ---

    def _schedule(self, held: HeldLease) -> None:
        """Let the thread renew or replace `held` at its time; the caller has the lock."""
        self._count += 1
        heapq.heappush(self._due, (held.act_at, self._count, held))
        if self._thread is None:
            revoke_at_exit(self)
            self._thread = threading.Thread(
                target=Context().run, args=(self._run,), name="strongroom-leases", daemon=True
            )
            try:
                start_thread(self._thread)
            except RuntimeError:  # the interpreter is on its way out, or the machine has no more threads
                self._thread = None
        self._changed.notify_all()

    def _run(self) -> None:
        me = threading.current_thread()
        while True:
            self.start_due(self._pool.start)
            with self._changed:
                if self._thread is not me:
                    return
                wait = self._seconds_to_next()
                if wait is None:
                    self._thread = None
                    return
                # A wait does not count the time for which the machine sleeps: look at the clock now and then.
                self._changed.wait(min(wait, _LONGEST_WAIT))

    def start_due(self, start: Callable[[Callable[[], object]], object]) -> float | None:
        """Run what is due by `start`, and return the seconds until something will be due; None for never."""
        due = []
        with self._changed:
            now = self._clock()
            while self._due and self._due[0][0] <= now:
                due.append(heapq.heappop(self._due)[2])
        # Without the lock: if there are no more threads, the call is made here, and others must not wait.
        for held in due:
            if self._held.get(held.name) is held:
                start(partial(self._act_if_due, held))
        with self._changed:
            return self._seconds_to_next()

    def _seconds_to_next(self) -> float | None:
        return min(max(self._due[0][0] - self._clock(), 0.0), threading.TIMEOUT_MAX) if self._due else None

    def _act_if_due(self, held: HeldLease) -> None:
        with held.lock:
            if self._held.get(held.name) is held and self._clock() >= held.act_at:
                try:
                    self._act(held)
                except BaseException as error:  # noqa: BLE001  # the pool's calls must not raise
                    _log.warning("leases: %s", type(error).__name__)
                    self._later(held)

    def _act(self, held: HeldLease, *, asked: bool = False) -> None:
        """Renew a lease; replace it if it cannot be renewed, or not for long.

        `asked` is whether somebody doubts that it lives: the server then says so, also of one that is to be
        replaced next.
        """
        held.checked = self._clock()
        if (not held.lease.renewable if asked else held.last) or held.ends <= held.checked:
            self._replace(held)
            return
        try:
            renewed = self._calls.renew(held.name, held.lease)
        except BackendUnavailableError as error:
            if not held.pause:  # once, until it is renewed or replaced
                _log.warning(
                    "the lease of %s cannot be renewed now (%s); its values are given until %s",
                    self._shown(held), type(error).__name__, held.lease.expires_at.isoformat(),
                )  # fmt: skip
            self._later(held)
            return
        except (SecretNotFoundError, UnsupportedOperationError) as error:
            _log.info("the lease of %s is replaced: %s", self._shown(held), type(error).__name__)
        except Exception as error:  # noqa: BLE001  # a hook may raise anything; denied, not logged in
            _log.warning("the lease of %s is not renewed: %s", self._shown(held), show_error(error))
        else:
            self._renewed(held, renewed)
            return
        held.last = True
        self._replace(held)

    def _renewed(self, held: HeldLease, renewed: Lease) -> None:
        started = held.checked
        life = self._times.life_of(renewed, started)
        self._calls.show_values(renewed)
        with self._changed:
            current = self._held.get(held.name)
            if current is held:
                self._times.renew(held, renewed, started, life)
                subscribers = self._note_text(held.name, held.text)
                self._schedule(held)
        if current is held:
            self._calls.note_renewal(renewed)
            self._call_all(subscribers, renewed)
        elif current is not None:  # it had ended before the answer came, and a reader has another one
            self._calls.revoke(held.name, renewed)

    def _replace(self, held: HeldLease) -> None:
        with self._taking_off(held.name) as own:
            with self._changed:
                if self._held.get(held.name) is not held:
                    return
                flight = self._flight(held.name, own)
                if flight is not own:  # a reader asks for one; if it gets none, nobody else would try again
                    held.act_at = self._clock() + _LAPSED_SECONDS
                    self._schedule(held)
                    return
            replaced = self._run_fetch(held.name, flight)
        if not replaced:
            error = flight.exception()
            if not held.pause:
                _log.warning(
                    "the lease of %s cannot be replaced (%s); its values are given until %s",
                    self._shown(held), type(error).__name__, held.lease.expires_at.isoformat(),
                )  # fmt: skip
            self._later(held)

    def _shown(self, held: HeldLease) -> str:
        return show_key(self._calls.asked_as(held.name[1]))

    def _later(self, held: HeldLease) -> None:
        with self._changed:
            if self._held.get(held.name) is held:
                self._times.postpone(held)
                self._schedule(held)

    def _note_text(self, name: LeaseName, text: str) -> list[Callable[[Lease], object]]:
        """Take note of the text that reads return now; if it has changed, return the subscribers to call."""
        before, self._given[name] = self._given.get(name), text
        if before is None or before == text:
            return []
        callbacks = list(self._subscribers.get(name, ()))
        return callbacks if self._changed_to is None else [*callbacks, partial(self._changed_to, name)]

    def _call_all(self, subscribers: list[Callable[[Lease], object]], lease: Lease) -> None:
        interrupt: BaseException | None = None
        for callback in subscribers:
            try:
                callback(lease)
            except BaseException as error:  # noqa: BLE001  # of a subscriber, also an exit; others must be called
                if not isinstance(error, Exception) and threading.current_thread() is threading.main_thread():
                    interrupt = error  # perhaps of a signal handler: it is to end the process
                else:
                    _log.warning("a callback of a lease failed: %s", type(error).__name__)
        if interrupt is not None:
            raise interrupt

    # --- the end ---

    def _forget_ended(self) -> None:
        now = self._clock()
        with self._changed:
            ended = [held for held in self._retired if held.ends <= now]
            self._retired = [held for held in self._retired if held.ends > now]
        for held in ended:
            self._calls.note_end(held.lease)

    def revoke_all(self) -> None:
        """Revoke all leases of this process; reading afterwards issues new ones.

        While the server is down, no more are tried after half a minute: they stay in the ledger.
        """
        with self._changed:
            now = self._clock()
            everything = [*self._retired, *self._held.values()]
            living = [held for held in everything if held.ends > now]
            self._held, self._retired, self._due, self._lapsed = {}, [], [], {}
            self._given = {}
            self._generation += 1
            self._thread = None
            self._changed.notify_all()
        for held in everything:
            if held.ends <= now:
                self._calls.note_end(held.lease)
        until, failing = self._clock() + _REVOKING_SECONDS, threading.Event()
        left: list[HeldLease] = []

        def revoke(held: HeldLease) -> None:
            if failing.is_set() and self._clock() > until:
                left.append(held)
            elif self._calls.revoke(held.name, held.lease):
                failing.clear()
            else:
                failing.set()

        in_parallel(revoke, living, _WORKERS)
        if left:
            _log.warning(
                "%d more leases are not revoked, since the server is down; `strongroom lease sweep` does it "
                "later", len(left),
            )  # fmt: skip

    def end(self) -> None:
        """Revoke all leases as the process ends, also those that other threads are being issued."""
        with self._changed:
            under_way = list(self._flights.values())
        self.revoke_all()
        wait(under_way, _ISSUING_SECONDS)  # their threads revoke what comes late

    def close(self) -> None:
        """Revoke all leases, and let the threads that renewed them end."""
        try:
            self.revoke_all()
        finally:
            self._pool.close()
