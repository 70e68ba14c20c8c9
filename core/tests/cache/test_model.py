"""Caches, tenants, writers and hosts against a model that knows what is promised.

The model keeps the history of every stored secret. A read may give what was stored at any moment since the last
change that caches were told of, and no longer ago than a life; after an invalidation or a description, nothing
from before it. Hosts have clocks of their own, which may be wrong, come and go, and may have more fetches under way
than anybody waits for.

Faults that the caches once had come back where their mend is taken out, and the machine finds them then.
"""

from __future__ import annotations

import gc
import sys
import threading
import weakref
from collections.abc import Callable
from contextvars import Context
from functools import partial
from typing import Any

import pytest
from cache_support import Clock
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from strongroom import (
    CachingMiddleware,
    PrefixMiddleware,
    RetryMiddleware,
    SecretProviderRegistry,
    TenantContext,
    TenantMiddleware,
    generate_key,
)
from strongroom.cache import HierarchicalSecretCache, MemoryCacheStore, second_level
from strongroom.cache import secret_cache as one_level
from strongroom.cache.entry_codec import StoredEntry
from strongroom.cache.resilient_store import ResilientStore
from strongroom.cache.single_flight import NonBlockingRead, WouldBlock, non_blocking_read
from strongroom.encryption import AESGCMEncryption
from strongroom.errors import (
    BackendUnavailableError,
    PermissionDeniedError,
    SecretNotFoundError,
    StrongroomError,
)
from strongroom.middleware import caching
from strongroom.parallel import BackgroundPool
from strongroom.pipeline import Pipeline
from strongroom.runtime.frozen import replaced
from strongroom.tenancy import current_tenant
from strongroom_memory import MemorySecretProvider

LIVES = (300.0, 900.0)
"""Seconds that each of the two hosts gives a value for, whatever the other one does."""
KEY = generate_key()
STORED = ("db", "p/db", "tenants/a/db")
PIPELINES = ("whole", "prefixed", "retried", "plain", "tenanted")
ABSENT = None
SLOW = 33
"""Fetches at once: one more than one crew has threads."""


class Service(MemorySecretProvider):
    """The backend of all hosts; a batch raises for the first key that is gone or denied."""

    def __init__(self) -> None:
        super().__init__()
        self.faults: dict[str, str] = {}
        self.meanwhile: Callable[[], object] = lambda: None
        self.gate, self.entered = threading.Event(), threading.Semaphore(0)

    def get_secret(self, key: str) -> str:
        if key.startswith("slow/"):
            self.entered.release()
            assert self.gate.wait(300)
            return key
        self._check(key)
        return super().get_secret(key)

    def get_secrets(self, keys: Any) -> dict[str, str]:
        asked = list(keys)
        self.meanwhile()
        for key in asked:
            self._check(key)
        return super().get_secrets(asked)

    def _check(self, key: str) -> None:
        fault = self.faults.get(key)
        if fault == "denied":
            raise PermissionDeniedError("no", key=key)
        if fault is not None:
            raise SecretNotFoundError(key, reason=fault)  # type: ignore[arg-type]  # one of its own


def stored_as(pipeline: str, tenant: str | None, key: str) -> str | None:
    """Return the stored key, None where there is none."""
    if pipeline in {"prefixed", "retried"}:
        return f"p/{key}"
    if pipeline == "tenanted":
        return None if tenant is None else f"tenants/{tenant}/{key}"
    return key


def outcome(call: Callable[[], Any]) -> tuple[Any, StrongroomError | None]:
    """Return what `call` returns, or the refusal that it raises."""
    try:
        return call(), None
    except (SecretNotFoundError, PermissionDeniedError) as error:
        return ABSENT, error


def reason_of(error: StrongroomError) -> str:
    return error.reason if isinstance(error, SecretNotFoundError) else "denied"


class Caches(RuleBasedStateMachine):
    @initialize(offsets=st.lists(st.sampled_from([0.0, 3600.0, -3600.0]), min_size=2, max_size=2))
    def begin(self, offsets: list[float]) -> None:
        self.clock = Clock()
        self.backend = Service()
        self.store = MemoryCacheStore(clock=self.clock)
        self.offsets = offsets
        self.caches: list[list[Any]] = [[] for _ in offsets]
        self.hosts = [self.host(number) for number in range(len(offsets))]
        self.count = 0
        # For each stored key what it was from when on, and since when nothing older may be given.
        self.history: dict[str, list[tuple[float, str | None]]] = {key: [(0.0, ABSENT)] for key in STORED}
        self.announced: dict[str, int] = dict.fromkeys(STORED, 0)
        self.seen: dict[tuple[Any, ...], int] = {}
        self.costly = {"fetches", "hosts"}  # each once in a run

    def host(self, number: int, *, alone: bool = False) -> SecretProviderRegistry:
        def cached(inner: Any) -> CachingMiddleware:
            made = CachingMiddleware(
                inner,
                60,
                l2=self.store,
                l2_ttl_seconds=LIVES[number],
                encryption=AESGCMEncryption(KEY),
                negative_ttl_seconds=30,
                max_age_seconds=100_000,  # the store keeps what is out of date, for those who are offline
                l2_timeout_seconds=PATIENCE,
                fetch_timeout_seconds=10 * PATIENCE,
                clock=self.clock,
            )
            clock, offsets = self.clock, self.offsets
            self.caches[number].append(weakref.ref(made.cache))
            made.cache._level._wall = lambda: clock() + offsets[number]  # type: ignore[union-attr]  # it has two levels
            return made

        registry = SecretProviderRegistry({"version": 1, "pipelines": {}})
        registry.register("whole", cached(self.backend))
        if alone:
            return registry  # no other cache of this process makes its drops
        registry.register("prefixed", cached(PrefixMiddleware(self.backend, "p/")))
        registry.register("retried", PrefixMiddleware(cached(RetryMiddleware(self.backend)), "p/"))
        registry.register("plain", self.backend)
        registry.register("tenanted", cached(TenantMiddleware(self.backend)))
        return registry

    places = {  # noqa: RUF012  # of the strategies below
        "host": st.integers(0, 1),
        "tenant": st.sampled_from([None, "a"]),
        "pipeline": st.sampled_from(PIPELINES),
        "key": st.sampled_from(["db", "p/db", "tenants/a/db"]),
    }

    def at(self, host: int, tenant: str | None, pipeline: str, key: str, call: str, *args: Any) -> Any:
        provider = self.hosts[host].pipeline(pipeline)
        if tenant is None:
            return getattr(provider, call)(*args)
        with TenantContext(tenant):
            return getattr(provider, call)(*args)

    def now_is(self, stored: str, value: str | None, *, announced: bool) -> None:
        self.history[stored].append((self.clock.now, value))
        if announced:
            self.announced[stored] = len(self.history[stored]) - 1

    def allowed(self, where: tuple[Any, ...], stored: str) -> set[str | None]:
        life = LIVES[where[0]]
        history = self.history[stored]
        first = max(self.announced[stored], self.seen.get((*where, stored), 0))
        until = [since for since, _ in history[1:]] + [float("inf")]
        return {
            value
            for at, ((_, value), end) in enumerate(zip(history, until, strict=True))
            if at >= first and end > self.clock.now - life - 1
        }

    @rule(**places)
    def read(self, host: int, tenant: str | None, pipeline: str, key: str) -> None:
        stored = stored_as(pipeline, tenant, key)
        if stored not in self.history:
            return
        found, error = outcome(lambda: self.at(host, tenant, pipeline, key, "get_secret", key))
        if error is not None:
            assert error.key == key
            if reason_of(error) != "absent":
                assert reason_of(error) == self.backend.faults.get(stored)
                return
        assert found in self.allowed((host, tenant, pipeline), stored), (stored, found)

    @rule(stored=st.sampled_from(STORED), first=st.integers(0, 1))
    def everybody_reads(self, stored: str, first: int) -> None:
        for host in (first, 1 - first):
            for tenant in (None, "a"):
                for pipeline in PIPELINES:
                    for key in ("db", stored):
                        if stored_as(pipeline, tenant, key) == stored:
                            self.read(host, tenant, pipeline, key)

    @rule(
        host=places["host"],
        tenant=places["tenant"],
        pipeline=st.sampled_from(["whole", "plain"]),
        also=st.sampled_from([None, *STORED]),
    )
    def read_together(self, host: int, tenant: str | None, pipeline: str, also: str | None) -> None:
        """A batch; meanwhile somebody else reads one of its keys, and waits for it."""
        keys, mine = list(STORED), NonBlockingRead([])

        def read() -> Any:
            token = non_blocking_read.set(mine)
            try:
                return outcome(lambda: self.at(host, tenant, pipeline, "", "get_secret", also))
            except WouldBlock as blocked:
                mine.waited_for.append(blocked.flight)
                return None
            finally:
                non_blocking_read.reset(token)

        if also is not None and pipeline != "plain":
            self.backend.meanwhile = lambda: Context().run(read)  # not a part of the fetch
        found, error = outcome(lambda: self.at(host, tenant, pipeline, "", "get_secrets", keys))
        self.backend.meanwhile = lambda: None
        if mine.waited_for:
            mine.waited_for[0].future.exception(60)
            other = read()
            if other is not None and other[1] is not None:  # else it would have to ask for itself
                assert other[1].key == also
        if error is not None:
            assert reason_of(error) == self.backend.faults.get(str(error.key))
            return
        for key in keys:
            assert found.get(key) in self.allowed((host, tenant, pipeline), key), key

    @rule(**places, delete=st.booleans())
    def write(self, host: int, tenant: str | None, pipeline: str, key: str, delete: bool) -> None:
        stored = stored_as(pipeline, tenant, key)
        if stored not in self.history:
            return
        if delete:
            outcome(lambda: self.at(host, tenant, pipeline, key, "delete_secret", key))
            self.now_is(stored, ABSENT, announced=True)
        else:
            self.count += 1
            self.at(host, tenant, pipeline, key, "set_secret", key, f"value {self.count}")
            self.now_is(stored, f"value {self.count}", announced=True)

    @rule(stored=st.sampled_from(STORED), first=st.sampled_from([None, 0, 1]))
    def another_tool_writes(self, stored: str, first: int | None) -> None:
        if first is not None:
            self.everybody_reads(stored, first)
        self.count += 1
        self.backend.set_secret(stored, f"value {self.count}")
        self.now_is(stored, f"value {self.count}", announced=False)

    @rule(**places, how=st.sampled_from(["invalidate", "describe_secret"]))
    def look_again(self, host: int, tenant: str | None, pipeline: str, key: str, how: str) -> None:
        stored = stored_as(pipeline, tenant, key)
        if stored not in self.history:
            return
        if outcome(lambda: self.at(host, tenant, pipeline, key, how, key))[1] is not None:
            return
        self.seen[host, tenant, pipeline, stored] = len(self.history[stored]) - 1
        self.read(host, tenant, pipeline, key)

    @rule(stored=st.sampled_from(STORED), fault=st.sampled_from(["disabled", "deleted", "denied", None]))
    def fail(self, stored: str, fault: str | None) -> None:
        self.backend.faults.pop(stored, None)
        if fault is not None:
            self.backend.faults[stored] = fault

    @rule(
        seconds=st.sampled_from([1.0, 31.0, 61.0, 302.0, 3605.0]),
        stored=st.sampled_from([None, *STORED]),
        first=st.integers(0, 1),
    )
    def wait(self, seconds: float, stored: str | None, first: int) -> None:
        self.clock.pass_by(seconds)
        if stored is not None:
            self.everybody_reads(stored, first)

    @rule(host=places["host"], back=st.sampled_from([1800.0, 3600.0]))
    def set_a_clock_back(self, host: int, back: float) -> None:
        self.offsets[host] -= back

    @precondition(lambda self: "fetches" in self.costly)
    @rule(host=places["host"], key=st.sampled_from(STORED))
    def write_while_many_fetch(self, host: int, key: str) -> None:
        """Their own threads are busy with what a backend takes long for, and the store's must not be."""
        self.costly.discard("fetches")
        self.read(1 - host, None, "whole", key)
        others, self.hosts[host] = self.hosts[host], self.host(host, alone=True)
        readers, provider = [], self.hosts[host].pipeline("whole")
        self.count += 1
        for slow in range(SLOW):
            token = non_blocking_read.set(NonBlockingRead())
            try:
                provider.get_secret(f"slow/{self.count}/{slow}")
            except WouldBlock as blocked:
                readers.append(blocked.flight)
            finally:
                non_blocking_read.reset(token)
        for _ in readers:
            assert self.backend.entered.acquire(timeout=300)
        try:
            self.write(host, None, "whole", key, delete=False)
            self.read(1 - host, None, "whole", key)
        finally:
            self.hosts[host] = others
            self.backend.gate.set()
            for flight in readers:
                flight.future.exception(60)
            self.backend.gate.clear()

    @precondition(lambda self: "hosts" in self.costly)
    @rule(host=places["host"])
    def leave_a_host_and_begin_another(self, host: int) -> None:
        """Whoever drops a registry without `close` leaves nothing behind that listens for ever."""
        self.costly.discard("hosts")
        left, self.caches[host] = self.caches[host], []
        self.hosts[host] = self.host(host)
        self.seen = {where: since for where, since in self.seen.items() if where[0] != host}
        pause = threading.Event()
        for _ in range(60):  # a thread that has just ended a fetch may still hold on to its cache
            gc.collect()
            listening = len(self.store._subscribers)
            if listening <= sum(map(len, self.caches)) and not any(cache() for cache in left):
                break
            pause.wait(0.01)
        assert not any(cache() for cache in left)
        assert listening <= sum(map(len, self.caches))

    def teardown(self) -> None:
        for host in getattr(self, "hosts", ()):
            host.close()


PATIENCE = 60.0
"""Seconds that a machine of any speed has for a call of the store."""


def run(examples: int, steps: int, **more: Any) -> None:
    gc.collect()
    gc.freeze()  # what a host leaves behind is little: only that is looked through
    try:
        run_state_machine_as_test(
            Caches,
            settings=settings(
                max_examples=examples,
                stateful_step_count=steps,
                deadline=None,
                derandomize=True,
                database=None,
                suppress_health_check=list(HealthCheck),
                **more,
            ),
        )
    finally:
        gc.unfreeze()


# --- the mends, each taken out ---


def names_without_an_address(patch: Any) -> None:
    """Attack 3: nothing but the key is in a name, nor in what an entry is bound to."""
    patch(caching, "_namespace_of", lambda inner, l2: "")
    patch(caching.CachingMiddleware, "_source_texts", lambda self, key: [key])


def errors_of_a_batch_go_to_all(patch: Any) -> None:
    """Attack 6."""
    patch(one_level, "concerns_all", lambda error: True)


def what_a_batch_lacks_is_absent(patch: Any) -> None:
    """Attack 6 again: "not found" is remembered for whichever key, and for whatever reason."""
    patch(one_level, "says_absent", lambda error, key: True)


def drops_reach_the_writers_tenant_alone(patch: Any) -> None:
    """Attack 7."""
    patch(caching.CachingMiddleware, "drop", lambda self, source: self.cache.invalidate(source.key))


def drops_wait_for_fetches(patch: Any) -> None:
    """Attack 13: one crew for all that is asked of a store."""
    made = ResilientStore.__init__

    def make(self: Any, *args: Any, **options: Any) -> None:
        made(self, *args, **options)
        self._crew = self._holders = self._droppers = BackgroundPool(32)

    patch(ResilientStore, "__init__", make)
    patch(sys.modules[__name__], "PATIENCE", 0.2)


def nobody_asks_how_old_it_is_by_the_store(patch: Any) -> None:
    """Attack 23 once more: an entry of the future, kept past its life, becomes fresh when its time comes."""

    def get_with_life(self: Any, name: str) -> Any:
        data = self.get(name)
        return None if data is None else (data, None)

    patch(ResilientStore, "get_with_life", get_with_life)


def entries_may_be_of_the_future(patch: Any) -> None:
    """Attack 23 and F20: a clock that is ahead, or goes back."""
    nobody_asks_how_old_it_is_by_the_store(patch)
    patch(second_level, "_SKEW_SECONDS", float("inf"))


def an_entry_lives_as_long_as_it_says(patch: Any) -> None:
    """Attack 23 again: whoever wrote an entry decides how long others give it."""

    def as_written(one: Any, **changes: Any) -> Any:
        return one if isinstance(one, StoredEntry) and "expires" in changes else replaced(one, **changes)

    patch(second_level, "replaced", as_written)


def a_description_stamps_what_was_read_before(patch: Any) -> None:
    """F6 again: an entry that was read without a version is taken for the one that a description shows."""
    real = one_level.SecretCache.saw_version

    def saw_version(self: Any, key: str, version: str) -> bool:
        entry = self._entries.find(current_tenant(), key)
        if entry is not None and entry.version is None:
            entry.version = version
        return real(self, key, version)

    patch(one_level.SecretCache, "saw_version", saw_version)


def a_subscription_keeps_its_cache(patch: Any) -> None:
    """Attack 24."""

    def listen(self: Any) -> None:
        if not self._listens:
            self._listens = True
            self._subscription = self._store.store.subscribe(partial(HierarchicalSecretCache._dropped, self))

    patch(HierarchicalSecretCache, "_listen", listen)


def a_registry_cannot_forget(patch: Any) -> None:
    """F6."""
    patch(Pipeline, "invalidate", lambda self, key: None)


MENDS = {
    "attack 3": names_without_an_address,
    "attack 6, for those who wait": errors_of_a_batch_go_to_all,
    "attack 6, for later": what_a_batch_lacks_is_absent,
    "attack 7": drops_reach_the_writers_tenant_alone,
    "attack 13": drops_wait_for_fetches,
    "attack 24": a_subscription_keeps_its_cache,
    "attack 23, the life that another host gives": an_entry_lives_as_long_as_it_says,
    "attack 23, past the life": nobody_asks_how_old_it_is_by_the_store,
    "F6": a_registry_cannot_forget,
    "F6, a description": a_description_stamps_what_was_read_before,
    "attack 23 and F20": entries_may_be_of_the_future,
}


@pytest.mark.torture
@pytest.mark.parametrize("taken_out", MENDS.values(), ids=MENDS)
def test_the_machine_finds_each_fault_whose_mend_is_taken_out(taken_out, monkeypatch):
    taken_out(monkeypatch.setattr)
    with pytest.raises((AssertionError, BackendUnavailableError, Flaky)):  # where it starves, time decides
        # Most are found within a few; which of them come first changes with the text of the machine.
        run(1000, 60, phases=[Phase.generate])


def test_no_read_gives_what_the_model_does_not_allow():
    run(8, 25)


@pytest.mark.torture
def test_nor_does_one_of_a_great_many():
    run(400, 60)
