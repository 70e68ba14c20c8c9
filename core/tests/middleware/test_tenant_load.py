"""64 tenants at once over threads, tasks and executors; and ids and keys that try to get out."""

from __future__ import annotations

import asyncio
import random
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

import pytest
from strongroom import SecretProviderRegistry, TenantContext, current_tenant
from strongroom.aio import AsyncSecretRegistry
from strongroom.backends import MemorySecretProvider
from strongroom.encryption import AESGCMEncryption, generate_key
from strongroom.errors import DecryptionError, InvalidKeyError, InvalidTenantError, SecretNotFoundError
from strongroom.middleware import CachingMiddleware, EncryptionMiddleware, TenantMiddleware

TENANTS = [f"t{number}" for number in range(64)]
KEYS = ["a", "b/c", "a/x", "long/" + "k" * 40]


@pytest.fixture
def registry():
    """A pipeline in which everything that knows tenants stands around one store."""
    store = MemorySecretProvider()
    encrypted = EncryptionMiddleware(TenantMiddleware(store), AESGCMEncryption(generate_key()))
    with SecretProviderRegistry({"version": 1, "pipelines": {}}) as made:
        made.register("app", CachingMiddleware(encrypted, ttl_seconds=300), prefix="")
        made.store = store
        yield made


class Work:
    """One tenant's operations, in an order that the seed decides; counts what is not its own."""

    def __init__(self, registry, tenant, seed):
        self.registry, self.tenant = registry, tenant
        self.drawn = random.Random(f"{seed}-{tenant}")
        self.crossings = 0

    def check(self, right):
        self.crossings += not right

    def step(self):
        """Do something to one key, and check that all that is seen is this tenant's."""
        self.check(current_tenant() == self.tenant)
        key, kind = self.drawn.choice(KEYS), self.drawn.randrange(8)
        try:
            if kind < 4:
                self.check(self.registry.get_secret(key).startswith(f"{self.tenant}:"))
            elif kind < 6:
                self.registry.set_secret(key, f"{self.tenant}:{self.drawn.random()}")
            elif kind == 6:
                found = self.registry.get_secrets(self.registry.list_secrets())
                self.check(all(value.startswith(f"{self.tenant}:") for value in found.values()))
            else:
                self.registry.delete_secret(key)
        except SecretNotFoundError:
            pass
        except DecryptionError:  # what another tenant encrypted
            self.check(False)


def in_threads(works, steps):
    """Each pool thread serves many tenants in turn, entering their contexts."""

    def serve(work):
        with TenantContext(work.tenant):
            for _ in range(5):
                work.step()
        work.check(current_tenant() is None)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(serve, works * (steps // 5)))


def in_executors(works, steps):
    """The caller's context goes along to the thread, as `asyncio.to_thread` does it."""
    with ThreadPoolExecutor(16) as pool:
        pending = []
        for number in range(steps):
            for work in works:
                with TenantContext(work.tenant):
                    pending.append(pool.submit(copy_context().run, work.step))
            if number % 4 == 0:
                pending.append(pool.submit(lambda: works[0].check(current_tenant() is None)))
        for one in pending:
            one.result()


def in_tasks(works, steps):
    """Tasks that interleave at each await, with reads that some share a fetch for."""

    async def serve(work, shared):
        async with TenantContext(work.tenant):
            for number in range(steps):
                if number % 2:
                    work.step()
                else:
                    key = work.drawn.choice(KEYS)
                    try:
                        value = await shared.get_secret(key)
                    except SecretNotFoundError:
                        value = f"{work.tenant}:"
                    except DecryptionError:
                        value = "another tenant's"
                    work.check(value.startswith(f"{work.tenant}:"))
                await asyncio.sleep(0)
                work.check(current_tenant() == work.tenant)

    async def main():
        async with AsyncSecretRegistry(works[0].registry) as shared:
            await asyncio.gather(*(serve(work, shared) for work in works))

    asyncio.run(main())


def crossings(registry, operations, seed):
    """Return how often a tenant saw what is not its own, in `operations` over three kinds of concurrency."""
    works = [Work(registry, tenant, seed) for tenant in TENANTS]
    steps = operations // 3 // len(works)
    in_threads(works, steps)
    in_executors(works, steps)
    in_tasks(works, steps)
    return sum(work.crossings for work in works)


def test_64_tenants_do_not_meet(registry):
    assert crossings(registry, 2_000, seed=1) == 0
    stored = registry.store.list_secrets()
    assert {key.split("/")[1] for key in stored} <= set(TENANTS)
    assert len(stored) > 64
    assert current_tenant() is None


@pytest.mark.torture
def test_64_tenants_do_not_meet_in_100_000_operations(registry):
    assert crossings(registry, 100_000, seed=2) == 0


def test_the_load_would_notice_a_crossing(registry, monkeypatch):
    """Were the cache blind to tenants, one would be seen."""
    monkeypatch.setattr("strongroom.middleware.tenant.current_tenant", lambda: "t0")
    assert crossings(registry, 600, seed=3) > 0


PIECES = [
    *("..", ".", "/", "//", "\\", "..\\", "%2e%2e", "%2f", "%252f", "..;", "\x00", "\n", "\r\n", "\t", " ", "\u202e"),
    *("\u2028", "\u2215", "\uff0f", "\uff0e\uff0e", "\ud800", "é", "*", "?", "#", "&", "+", "{tenant}", "{key}", "${env:HOME}"),
    *("tenants", "victim", "acme", "secret", "data", "metadata", "a", "b", "$(id)", "';--", "~", ":", "@", "=", ","),
]  # fmt: skip


def hostile(count, seed):
    """Return texts that try to lead somewhere else."""
    drawn = random.Random(seed)
    fixed = [
        "../victim/a",
        "acme/../victim",
        "/tenants/victim/a",
        "..%2fvictim%2fa",
        "tenants/victim/a",
        "victim/a",
    ]
    made = ["".join(drawn.choices(PIECES, k=drawn.randint(1, 7))) for _ in range(count - len(fixed))]
    return fixed + made


class Recording(MemorySecretProvider):
    def __init__(self):
        super().__init__()
        self.asked = []

    def get_secret(self, key):
        self.asked.append(key)
        return super().get_secret(key)

    def set_secret(self, key, value):
        self.asked.append(key)
        super().set_secret(key, value)

    def delete_secret(self, key):
        self.asked.append(key)
        super().delete_secret(key)

    def list_secrets(self, prefix=""):
        self.asked.append(prefix)
        return super().list_secrets(prefix)


def test_5000_hostile_keys_and_ids_stay_inside():
    """Each is refused before the store is asked, or asks under the tenant's own prefix; by segments, too."""
    store = Recording()
    store.set_secret("tenants/victim/a", "the victim's")
    store.asked.clear()
    provider = TenantMiddleware(store)
    for text in hostile(5_000, seed=4):
        with TenantContext("acme"):
            for call in (
                lambda key: provider.set_secret(key, "x"),
                provider.get_secret,
                provider.list_secrets,
                provider.delete_secret,
            ):
                try:
                    found = call(text)
                except (InvalidKeyError, SecretNotFoundError):
                    continue
                assert found != "the victim's"
        try:
            with TenantContext(text):
                provider.list_secrets()
        except InvalidTenantError:
            continue
        assert text.replace("_", "").replace("-", "").isalnum()
        assert store.asked.pop() == f"tenants/{text}/"
    assert len(store.asked) > 1_000
    for key in store.asked:
        assert key.startswith("tenants/acme/")
        assert not {"", ".", ".."} & set(key.split("/")[:-1])
    assert store.get_secret("tenants/victim/a") == "the victim's"
