"""What a signal handler that raises leaves behind, at whatever moment it comes: nothing held, nothing lost."""

from __future__ import annotations

import threading
from contextvars import Context
from datetime import UTC, datetime, timedelta

import pytest
from interrupts import interrupted_at_each_moment
from strongroom import CachingMiddleware, Lease, SecretProviderRegistry, TenantContext
from strongroom.cache.entries import Entries
from strongroom.cache.memory_store import MemoryCacheStore
from strongroom.deadlines import Deadline, DeadlineExecutor, held_within
from strongroom.errors import SecretNotFoundError
from strongroom.hooks.identity import acting_as, actor
from strongroom.leases import LiveLeases
from strongroom.parallel import SingleEntryLock, forks_wait
from strongroom.registry.watch import Watch
from strongroom.runtime import forks
from strongroom.runtime.scopes import OpenBlocks
from strongroom.tenancy import current_tenant
from strongroom_memory import MemorySecretProvider


def is_free(lock):
    """Return whether another thread can acquire `lock`."""
    acquired = []

    def acquire():
        acquired.append(lock.acquire(blocking=False))
        if acquired[0]:
            lock.release()

    other = threading.Thread(target=acquire)
    other.start()
    other.join()
    return acquired[0]


def test_locks_are_free():
    def use(locks):
        with locks[0]:
            pass
        locks[0].locked()
        with held_within(locks[1], 60) as held:
            assert held

    for locks in interrupted_at_each_moment(lambda: (SingleEntryLock("it"), threading.Lock()), use):
        assert all(map(is_free, locks))


def test_no_fork_waits_for_a_build_that_was_interrupted():
    def build(_):
        with forks_wait(), forks_wait():
            pass

    for _ in interrupted_at_each_moment(lambda: None, build):
        assert not forks._builds
        assert is_free(forks._gate)


def test_a_runner_has_its_slot():
    def prepare():
        runner = DeadlineExecutor(1)
        runner.run(lambda: None, Deadline(60))  # its thread is idle, or is about to be
        return runner

    for runner in interrupted_at_each_moment(prepare, lambda runner: runner.run(lambda: None, Deadline(60))):
        assert runner.run(lambda: "the next", Deadline(60)) == "the next"
    for runner in interrupted_at_each_moment(
        lambda: DeadlineExecutor(1), lambda runner: runner.run(lambda: None, Deadline(60))
    ):
        assert runner.run(lambda: "the next", Deadline(60)) == "the next"


def filled(entries, keys):
    for key in keys:
        entries.put(None, key, 0).expires = 60
    return entries


def test_a_cache_counts_its_entries():
    def drop(entries):
        entries.drop(None, "a")
        entries.drop_all()

    for entries in interrupted_at_each_moment(lambda: filled(Entries(3, 0), "abc"), drop):
        assert len(entries) == sum(map(len, entries.by_tenant.values()))
        assert len(filled(entries, "defg")) == 3


def test_the_lock_of_a_store_is_given_back():
    def hold(store):
        with store.lock("name", ttl_seconds=60, wait_seconds=0):
            pass

    for store in interrupted_at_each_moment(MemoryCacheStore, hold):
        with store.lock("name", ttl_seconds=60, wait_seconds=0) as token:
            assert token > 0


def test_no_tenant_and_no_actor_stay():
    def begin():
        blocks.leave(blocks.enter("acme"))
        with acting_as("client"):
            pass

    before, blocks = actor(), OpenBlocks("test_of_interrupts")
    for context in interrupted_at_each_moment(Context, lambda context: context.run(begin)):
        assert context.run(actor) == before
        assert context.run(blocks.innermost) is None


def test_no_tenant_stays_after_an_interrupt_as_its_block_begins():
    def begin(context):
        context.run(TenantContext("acme").__enter__)

    for context in interrupted_at_each_moment(Context, begin):
        assert context.run(current_tenant) is None


def within_one_block(tenant):
    with tenant:
        pass


def within_two_blocks(tenant):
    with tenant, tenant:
        pass


def within_a_generator(tenant):
    def body():
        with tenant:
            yield

    for _ in body():
        pass


@pytest.mark.parametrize("call", [within_one_block, within_two_blocks, within_a_generator])
def test_no_tenant_stays_after_an_interrupt_as_its_block_ends(call):
    """At whichever moment but the very first, which Python gives to no program."""

    def run(prepared):
        tenant, context = prepared
        context.run(call, tenant)

    for tenant, context in interrupted_at_each_moment(lambda: (TenantContext("acme"), Context()), run):
        assert context.run(current_tenant) is None
        context.run(within_two_blocks, tenant)
        assert context.run(current_tenant) is None


class Issuer:
    def __init__(self):
        self.living = []

    def issue_lease(self, key):
        lease = Lease(str(len(self.living)), key, {"username": "u"}, *times, renewable=True)
        self.living.append(lease.id)
        return lease

    def renew_lease(self, lease):
        return lease

    def revoke_lease(self, lease):
        self.living.remove(lease.id)


times = datetime.now(UTC), datetime.now(UTC) + timedelta(days=1)


def test_one_lease_is_alive_and_others_need_not_wait():
    def prepare():
        issuer = Issuer()
        return issuer, LiveLeases(issuer)

    for issuer, leases in interrupted_at_each_moment(prepare, lambda one: one[1].text("key")):
        heard = []
        other = threading.Thread(target=lambda: heard.append(leases.text("key")), daemon=True)  # noqa: B023
        other.start()
        other.join(30)
        assert heard == ['{"username": "u"}']
        assert len(issuer.living) == 1
        leases.revoke_all()
        assert not issuer.living


CACHED = {"provider": {"type": "memory", "secrets": {"key": "old"}}, "middleware": [{"type": "caching"}]}


def opened():
    return SecretProviderRegistry({"version": 1, "pipelines": {"app": CACHED}})


def test_a_cache_forgets_what_was_written():
    def prepare():
        registry = opened()
        registry.get_secret("key")
        return registry

    for registry in interrupted_at_each_moment(prepare, lambda one: one.set_secret("key", "new")):
        assert registry.get_secret("key") == registry.pipeline("app").inner.inner.get_secret("key")
        registry.close()


@pytest.mark.parametrize(
    "write",
    [
        lambda one: one.set_secret("key", "new"),
        lambda one: one.set_secrets({"key": "new"}),
        lambda one: one.set_secret_if("key", "new", "1"),
        lambda one: one.delete_secret("key"),
    ],
    ids=["set", "set of many", "set if", "delete"],
)
def test_so_does_the_cache_of_another_pipeline(write):
    def prepare():
        store = MemorySecretProvider(secrets={"key": "old"})
        registry = SecretProviderRegistry({"version": 1, "pipelines": {}})
        for name, prefix in ("app", ""), ("other", None):
            registry.register(name, CachingMiddleware(store), prefix=prefix)
            registry.pipeline(name).get_secret("key")
        return registry

    for registry in interrupted_at_each_moment(prepare, write):
        registered = [registry.pipeline(name) for name in ("app", "other")]
        assert len({value_in(one) for one in (registered[0].inner.inner, *registered)}) == 1
        registry.close()


def value_in(provider):
    try:
        return provider.get_secret("key")
    except SecretNotFoundError:
        return None


def test_a_watch_that_nobody_has_is_closed(monkeypatch):
    def wake(watch):
        begin(watch)
        raise KeyboardInterrupt

    begin, registry = Watch.wake, opened()
    monkeypatch.setattr(Watch, "wake", wake)
    with pytest.raises(KeyboardInterrupt):
        registry.watch("key", lambda _: None)
    assert not registry._watches
    registry.close()


def test_a_watch_that_is_being_closed_is_closed():
    registry = opened()
    provider = registry.pipeline("app").inner.inner
    for _ in interrupted_at_each_moment(lambda: registry.watch("key", lambda _: None), Watch.close):
        assert not registry._watches
        assert not provider._subscribers.present
    registry.close()
