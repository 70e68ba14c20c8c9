"""A write reaches every copy of a secret, on every host and in every pipeline; nothing older is kept after it."""

from __future__ import annotations

import asyncio
import threading
import time
import weakref
from functools import partial
from types import SimpleNamespace

import pytest
from cache_support import KEY, Clock
from sampling import crossed
from strongroom import (
    CachingMiddleware,
    PrefixMiddleware,
    RetryMiddleware,
    SecretProviderRegistry,
    TenantContext,
    TenantMiddleware,
)
from strongroom.aio import AsyncSecretRegistry
from strongroom.cache import MemoryCacheStore
from strongroom.cache.addresses import place_of
from strongroom.cache.second_level import SecondLevel
from strongroom.encryption import AESGCMEncryption
from strongroom.errors import BackendUnavailableError
from strongroom.rotation import SecretRotation
from strongroom_file import FileSecretProvider
from strongroom_memory import MemorySecretProvider


class Hosts:
    """Registries over one backend that share a second level, each in place of a process on a host of its own."""

    def __init__(self, backend=None):
        self.backend = backend if backend is not None else MemorySecretProvider()
        self.store = MemoryCacheStore()
        self.clock = Clock()

    def cache(self, inner):
        return CachingMiddleware(
            inner,
            300,
            l2=self.store,
            l2_timeout_seconds=120,
            encryption=AESGCMEncryption(KEY),
            clock=self.clock,
            negative_ttl_seconds=60,
        )

    def __call__(self, **pipelines):
        registry = SecretProviderRegistry({"version": 1, "pipelines": {}})
        for name, chain in pipelines.items():
            registry.register(name, chain, prefix="" if name == "app" else None)
        return registry


@pytest.fixture
def hosts():
    return Hosts()


WRITES = {
    "set": lambda registry: registry.set_secret("db", "new"),
    "batch": lambda registry: registry.set_secrets({"db": "new"}),
    "condition": lambda registry: registry.set_secret_if("db", "new", registry.describe_secret("db").version),
    "rotation": lambda registry: SecretRotation(registry).rotate("db", "new"),
}


@pytest.mark.parametrize(
    ("write", "writer"),
    crossed(
        [pytest.param(write, id=name) for name, write in WRITES.items()],
        [pytest.param(tenant, id=str(tenant)) for tenant in ("c", "a", None)],
    ),
)
class TestAWriteReachesEveryCopy:
    def test_of_every_tenant_on_every_host(self, hosts, write, writer):
        hosts.backend.set_secret("db", "old")
        one, other = hosts(app=hosts.cache(hosts.backend)), hosts(app=hosts.cache(hosts.backend))
        everybody(one, other, "old")
        as_tenant(writer, lambda: write(one))
        everybody(one, other, "new")
        everybody(hosts(app=hosts.cache(hosts.backend)), one, "new")

    def test_through_another_pipeline_with_other_middleware(self, hosts, write, writer):
        hosts.backend.set_secret("team/db", "old")

        def made():
            return hosts(
                app=PrefixMiddleware(RetryMiddleware(hosts.backend), "team/"),
                cached=hosts.cache(PrefixMiddleware(hosts.backend, "team/")),
                whole=hosts.cache(hosts.backend),
                outside=PrefixMiddleware(hosts.cache(hosts.backend), "team/"),
            )

        one, other = made(), made()

        def read():
            return {
                as_tenant(tenant, partial(registry.pipeline(name).get_secret, key))
                for registry in (one, other)
                for name, key in (("cached", "db"), ("whole", "team/db"), ("outside", "db"))
                for tenant in (None, "a", "b")
            }

        assert read() == {"old"}
        as_tenant(writer, lambda: write(one))
        assert read() == {"new"}


def as_tenant(tenant, call):
    if tenant is None:
        return call()
    with TenantContext(tenant):
        return call()


def everybody(one, other, value):
    for registry in (one, other, one):
        for tenant in (None, "a", "b"):
            assert as_tenant(tenant, lambda registry=registry: registry.get_secret("db")) == value


@pytest.mark.parametrize("audited", [False, True], ids=["plain", "audited"])
@pytest.mark.parametrize(
    "write",
    [
        lambda app: app.set_secret("key", "new"),
        lambda app: app.set_secrets({"key": "new"}),
        lambda app: app.set_secret_if("key", "new", "1"),
        lambda app: app.delete_secret("key"),
    ],
    ids=["set", "set of many", "set if", "delete"],
)
def test_a_signal_handler_changes_nothing_that_another_pipelines_cache_could_not_forget(
    hosts, write, audited
):
    """It comes while its own thread changes the entries of that cache: the write is refused, and not done."""
    hosts.backend.set_secret("key", "old")
    registry = hosts(app=CachingMiddleware(hosts.backend), other=CachingMiddleware(hosts.backend))
    app, other = registry.pipeline("app"), registry.pipeline("other")
    seen = []
    if audited:
        registry.add_hook(
            SimpleNamespace(before=lambda _: None, after=lambda event: seen.append(event.outcome))
        )
    assert [app.get_secret("key"), other.get_secret("key")] == ["old", "old"]
    del seen[:]
    with (
        other.inner.cache._lock,
        pytest.raises(BackendUnavailableError, match="as in a signal handler") as e,
    ):
        write(app)
    assert e.value.pipeline == "app"
    assert seen == (["error"] if audited else [])
    assert [one.get_secret("key") for one in (hosts.backend, app, other)] == ["old", "old", "old"]
    app.set_secret("key", "newer")
    assert [one.get_secret("key") for one in (hosts.backend, app, other)] == ["newer", "newer", "newer"]


def test_so_does_a_deletion(hosts):
    hosts.backend.set_secret("db", "old")
    one, other = hosts(app=hosts.cache(hosts.backend)), hosts(app=hosts.cache(hosts.backend))
    everybody(one, other, "old")
    one.delete_secret("db")
    for registry in (one, other):
        for tenant in (None, "a", "b"):
            with pytest.raises(KeyError):
                as_tenant(tenant, lambda registry=registry: registry.get_secret("db"))
    one.set_secret("db", "again")  # also what was remembered as absent
    everybody(one, other, "again")


def test_each_tenant_s_own_secret_is_left_alone(hosts):
    def made():
        return hosts(app=hosts.cache(TenantMiddleware(hosts.backend)))

    one, other = made(), made()
    for tenant in ("a", "b"):
        as_tenant(tenant, lambda tenant=tenant: one.set_secret("db", f"{tenant}'s"))
    for tenant in ("a", "b", "a"):
        for registry in (one, other):
            assert as_tenant(tenant, lambda registry=registry: registry.get_secret("db")) == f"{tenant}'s"
    as_tenant("a", lambda: one.set_secret("db", "a's new one"))
    assert as_tenant("a", lambda: other.get_secret("db")) == "a's new one"
    cache = other.pipeline("app").inner
    hits = cache.stats().hits
    assert as_tenant("b", lambda: other.get_secret("db")) == "b's"
    assert cache.stats().hits == hits + 1


def test_a_cache_over_a_fallback_hears_its_members_whatever_the_tenant(tmp_path):
    spec = {
        "version": 1,
        "pipelines": {
            "first": {"provider": {"type": "memory"}},
            "second": {"provider": {"type": "memory"}, "middleware": [{"type": "prefix", "prefix": "x/"}]},
            "safe": {"fallback": {"pipelines": ["first", "second"]}, "middleware": [{"type": "caching"}]},
        },
        "default": "safe",
    }
    with SecretProviderRegistry(spec) as registry:
        registry.pipeline("second").set_secret("db", "old")
        for tenant in (None, "a"):
            assert as_tenant(tenant, lambda: registry.get_secret("db")) == "old"
        registry.pipeline("second").set_secret("db", "new")
        for tenant in (None, "a"):
            assert as_tenant(tenant, lambda: registry.get_secret("db")) == "new"
        registry.pipeline("first").set_secret("db", "first")
        for tenant in (None, "a"):
            assert as_tenant(tenant, lambda: registry.get_secret("db")) == "first"


def test_a_fetch_that_a_write_of_another_pipeline_overtakes_is_kept_nowhere(hosts):
    class Slow(MemorySecretProvider):
        gate, entered = threading.Event(), threading.Event()

        def get_secret(self, key):
            value = super().get_secret(key)
            self.entered.set()
            self.gate.wait(300)
            return value

    hosts.backend = Slow(secrets={"db": "old"})
    one = hosts(app=hosts.cache(hosts.backend), plain=hosts.backend)
    reader = threading.Thread(target=one.get_secret, args=("db",))
    reader.start()
    assert Slow.entered.wait(300)
    one.pipeline("plain").set_secret("db", "new")
    Slow.gate.set()
    reader.join(300)
    assert one.get_secret("db") == "new"
    assert hosts(app=hosts.cache(hosts.backend)).get_secret("db") == "new"


def test_so_is_a_batch_on_another_host(hosts):
    class Slow(MemorySecretProvider):
        gate, entered = threading.Event(), threading.Event()

        def get_secrets(self, keys):
            found = super().get_secrets(keys)
            self.entered.set()
            self.gate.wait(300)
            return found

    hosts.backend = Slow(secrets={"db": "old"})
    one, other = hosts(app=hosts.cache(hosts.backend)), hosts(app=hosts.cache(hosts.backend))
    reader = threading.Thread(target=one.get_secrets, args=(["db"],))
    reader.start()
    assert Slow.entered.wait(300)
    other.set_secret("db", "new")
    Slow.gate.set()
    reader.join(300)
    assert hosts(app=hosts.cache(hosts.backend)).get_secret("db") == "new"
    assert one.get_secret("db") == "new"


@pytest.mark.parametrize("how", ["invalidate", "clear"])
@pytest.mark.parametrize("who", ["the same host", "another host"])
@pytest.mark.parametrize("tenant", [None, "a"])
def test_so_is_a_batch_that_an_invalidation_overtakes(how, who, tenant, hosts):
    """It came before: whoever invalidates knows that another tool has written."""

    class Slow(MemorySecretProvider):
        gate, entered = threading.Event(), threading.Event()

        def get_secrets(self, keys):
            found = super().get_secrets(keys)
            self.entered.set()
            self.gate.wait(300)
            return found

    hosts.backend = Slow(secrets={"db": "old", "other": "kept"})
    one, other = hosts(app=hosts.cache(hosts.backend)), hosts(app=hosts.cache(hosts.backend))
    reader = threading.Thread(target=as_tenant, args=(tenant, lambda: one.get_secrets(["db", "other"])))
    reader.start()
    assert Slow.entered.wait(300)
    hosts.backend.set_secret("db", "new")
    told = one if who == "the same host" else other
    forget = told.invalidate if how == "invalidate" else lambda _: told.pipeline("app").inner.clear()
    as_tenant(tenant, lambda: forget("db"))
    Slow.gate.set()
    reader.join(300)
    third = hosts(app=hosts.cache(hosts.backend))
    assert [as_tenant(tenant, lambda: third.get_secret("db")), as_tenant(tenant, lambda: told.get_secret("db"))] == [
        "new", "new",
    ]  # fmt: skip


class TestInvalidate:
    def test_the_next_read_asks_the_backend_in_every_level(self, hosts):
        hosts.backend.set_secret("team/db", "old")
        chain = hosts.cache(PrefixMiddleware(hosts.cache(hosts.backend), "team/"))
        one = hosts(app=chain)
        assert one.get_secret("db") == "old"
        hosts.backend.set_secret("team/db", "new")
        assert one.get_secret("db") == "old"
        one.invalidate("db")
        assert one.get_secret("db") == "new"

    def test_it_acts_for_the_current_tenant(self, hosts):
        hosts.backend.set_secret("db", "old")
        one = hosts(app=hosts.cache(hosts.backend))
        for tenant in ("a", "b"):
            as_tenant(tenant, lambda: one.get_secret("db"))
        hosts.backend.set_secret("db", "new")
        as_tenant("a", lambda: one.invalidate("db"))
        assert as_tenant("a", lambda: one.get_secret("db")) == "new"
        assert as_tenant("b", lambda: one.get_secret("db")) == "old"

    def test_an_invalidation_from_asyncio_reaches_the_next_read(self, hosts):
        hosts.backend.set_secret("db", "old")

        async def main():
            async with AsyncSecretRegistry(hosts(app=hosts.cache(hosts.backend))) as registry:
                assert await registry.get_secret("db") == "old"
                hosts.backend.set_secret("db", "new")
                await registry.invalidate("db")
                assert await registry.get_secret("db") == "new"

        asyncio.run(main())

    def test_from_the_command_line(self, tmp_path, capsys):
        from strongroom.cli import main

        spec = tmp_path / "strongroom.yaml"
        spec.write_text(
            "version: 1\n"
            "pipelines:\n"
            "  app:\n"
            "    provider: {type: file, file_path: s.enc, encryption_key: a passphrase}\n"
            "    middleware:\n"
            "      - type: caching\n"
            "        l2: {type: file.cache, path: cache.db, timeout_seconds: 10}\n"
            "        l2_timeout_seconds: 10\n"
            f"        encryption: {{type: aes-gcm, key: {KEY}}}\n"
        )
        spec.chmod(0o600)
        with SecretProviderRegistry(spec) as registry:
            registry.set_secret("db", "old")
            assert registry.get_secret("db") == "old"
        with FileSecretProvider(tmp_path / "s.enc", "a passphrase") as behind:
            behind.set_secret("db", "new")
        for number, arguments in enumerate((["db"], [])):
            with SecretProviderRegistry(spec) as registry:
                assert registry.get_secret("db") == ("old", "new 0")[number]
            assert main(["--spec", str(spec), "cache", "clear", *arguments]) == 0
            assert "forgotten" in capsys.readouterr().out
            with FileSecretProvider(tmp_path / "s.enc", "a passphrase") as behind:
                behind.set_secret("db", f"new {number}")
            with SecretProviderRegistry(spec) as registry:
                assert registry.get_secret("db") == f"new {number}"

    def test_the_command_line_forgets_what_is_of_a_tenant_or_of_all(self, tmp_path, capsys):
        """Without a tenant it said that everything was forgotten, and meant what is of none: nothing here."""
        from strongroom.cli import main

        spec = tmp_path / "strongroom.yaml"
        spec.write_text(
            "version: 1\n"
            "pipelines:\n"
            "  app:\n"
            "    provider: {type: file, file_path: s.enc, encryption_key: a passphrase}\n"
            "    middleware:\n"
            "      - type: tenant\n"
            "      - type: caching\n"
            "        l2: {type: file.cache, path: cache.db, timeout_seconds: 10}\n"
            "        l2_timeout_seconds: 10\n"
            f"        encryption: {{type: aes-gcm, key: {KEY}}}\n"
        )
        spec.chmod(0o600)
        with SecretProviderRegistry(spec) as registry:  # another process, with a level of its own

            def seen(tenant):
                with TenantContext(tenant):
                    return registry.get_secret("db")

            def written_behind(value):
                with FileSecretProvider(tmp_path / "s.enc", "a passphrase") as behind:
                    for tenant in ("acme", "umbra"):
                        behind.set_secret(f"tenants/{tenant}/db", f"{tenant} {value}")

            for tenant in ("acme", "umbra"):
                with TenantContext(tenant):
                    registry.set_secret("db", f"{tenant} 1")
                assert seen(tenant) == f"{tenant} 1"
            written_behind(2)
            assert main(["--spec", str(spec), "--tenant", "acme", "cache", "clear"]) == 0
            assert "everything of this tenant was forgotten" in capsys.readouterr().out
            until(lambda: seen("acme") == "acme 2")
            assert seen("umbra") == "umbra 1"
            written_behind(3)
            assert main(["--spec", str(spec), "cache", "clear"]) == 0
            assert "everything was forgotten" in capsys.readouterr().out
            until(lambda: seen("acme") == "acme 3")
            until(lambda: seen("umbra") == "umbra 3")


def until(holds):
    """Wait until another process's word has come."""
    end = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


class TestAnAccount:
    """Who is logged in decides which secrets are meant, as on AWS."""

    class Provider(MemorySecretProvider):
        def __init__(self, account, **values):
            super().__init__(secrets=values)
            self.known, self.asked = account, 0

        def address(self):
            return {}

        def account(self):
            self.asked += 1
            if self.known is None:
                raise BackendUnavailableError("STS is down")
            return self.known

    def test_two_accounts_do_not_meet_and_each_is_asked_for_once(self, hosts):
        one, other = self.Provider("111", db="one's"), self.Provider("222", db="other's")
        for _ in range(2):
            for provider, value in ((one, "one's"), (other, "other's")):
                assert hosts(app=hosts.cache(provider)).get_secret("db") == value
        cache = hosts.cache(one)
        one.asked = 0
        for key in ("db", "none", "db"):
            try:
                cache.get_secret(key)
            except KeyError:
                continue
        assert one.asked == 1

    def test_it_is_not_asked_for_before_the_level_is_used(self, hosts):
        provider = self.Provider("111", db="value")
        registry = hosts(app=hosts.cache(provider))
        assert provider.asked == 0
        CachingMiddleware(provider).get_secret("db")
        assert provider.asked == 0
        registry.close()

    def test_while_it_is_not_known_the_level_is_not_used_and_drops_wait(self, hosts):
        good, unsure = self.Provider("111", db="old"), self.Provider(None, db="old")
        seen, blind = hosts.cache(good), hosts.cache(unsure)
        assert seen.get_secret("db") == blind.get_secret("db") == "old"
        unsure.set_secret("db", "new")
        good.set_secret("db", "new")
        blind.set_secret("db", "new")
        assert blind.owes_drops()
        assert seen.get_secret("db") == "old"
        unsure.known = "111"
        hosts.clock.pass_by(61)
        assert blind.get_secret("db") == "new"
        assert not blind.owes_drops()
        assert seen.get_secret("db") == "new"

    def test_while_it_is_not_known_a_tenant_that_is_cleared_waits_as_well(self, hosts):
        """`strongroom cache clear` says so: nothing was forgotten yet."""
        good, unsure = self.Provider("111", db="old"), self.Provider(None, db="old")
        seen, blind = hosts.cache(good), hosts.cache(unsure)
        with TenantContext("acme"):
            assert seen.get_secret("db") == "old"
            good.set_secret("db", "new")
            blind.clear()
            assert blind.owes_drops()
        unsure.known = "111"
        hosts.clock.pass_by(61)
        blind.get_secret("db")
        assert not blind.owes_drops()
        with TenantContext("acme"):
            assert seen.get_secret("db") == "new"

    def test_a_drop_is_made_though_another_thread_learns_the_account_meanwhile(self, hosts, monkeypatch):
        good, unsure = self.Provider("111", db="old"), self.Provider(None, db="old")
        seen, blind = hosts.cache(good), hosts.cache(unsure)
        assert seen.get_secret("db") == blind.get_secret("db") == "old"
        is_named = SecondLevel.is_named

        def overtaken(level):
            named = is_named(level)
            if not named:
                unsure.known = "111"
                hosts.clock.pass_by(61)
                assert is_named(level)
            return named

        good.set_secret("db", "new")
        monkeypatch.setattr(SecondLevel, "is_named", overtaken)
        blind.set_secret("db", "new")
        assert not blind.owes_drops()
        assert seen.get_secret("db") == "new"

    def test_while_it_is_not_known_what_is_read_is_kept_for_a_second(self, hosts):
        """Others tell a write by the names in the level, by which nothing is known here."""
        good, unsure = self.Provider("111", db="old"), self.Provider(None, db="old")
        writer, blind = hosts.cache(good), hosts.cache(unsure)
        assert blind.get_secret("db") == "old"
        assert blind.get_secrets(["db", "none"]) == {"db": "old"}
        with pytest.raises(KeyError):
            blind.get_secret("other")
        for backend in (good, unsure):  # which are one
            backend.set_secrets({"db": "new", "other": "new", "none": "new"})
        writer.set_secrets({"db": "new", "other": "new", "none": "new"})
        hosts.clock.pass_by(1)
        assert blind.get_secrets(["db", "none"]) == {"db": "new", "none": "new"}
        assert blind.get_secret("db") == "new"
        assert blind.get_secret("other") == "new"

    def test_of_too_many_drops_that_wait_all_are_made(self, hosts, monkeypatch):
        monkeypatch.setattr("strongroom.cache.second_level._MOST_UNDROPPED", 3)
        good, unsure = self.Provider("111", db="old"), self.Provider(None, db="old")
        seen, blind = hosts.cache(good), hosts.cache(unsure)
        assert seen.get_secret("db") == "old"
        good.set_secret("db", "new")
        for key in ("a", "b", "c", "db"):
            blind.set_secret(key, "new")
        assert seen.get_secret("db") == "new"


@pytest.mark.parametrize("how", ["write", "invalidate"])
def test_no_cache_is_filled_from_another_one_that_has_not_forgotten_yet(how):
    """A read comes in between, right after the outer one has forgotten; the inner one must have before."""

    class Outer(CachingMiddleware):
        def reads_at_once(self):
            if how_to_read:
                assert how_to_read[0]("db") == "newer"

        def drop(self, source):
            super().drop(source)
            self.reads_at_once()

        def invalidate(self, key):
            super().invalidate(key)
            self.reads_at_once()

    how_to_read = []
    backend = MemorySecretProvider(secrets={"db": "older"})
    with SecretProviderRegistry({"version": 1, "pipelines": {}}) as registry:
        registry.register("twice", Outer(CachingMiddleware(backend)), prefix="")
        registry.register("plain", backend)
        assert registry.get_secret("db") == "older"
        how_to_read.append(registry.get_secret)
        if how == "write":
            registry.pipeline("plain").set_secret("db", "newer")
        else:
            backend.set_secret("db", "newer")
            registry.invalidate("db")
        assert registry.get_secret("db") == "newer"


def test_an_object_has_one_place_for_threads_that_ask_at_the_same_time(monkeypatch):
    """Otherwise a write would not reach what the other thread has read."""
    provider, ref, by_another = MemorySecretProvider(), weakref.ref, []

    def referred(thing, callback):
        if not by_another:
            by_another.append(None)
            by_another[0] = place_of(provider)
        return ref(thing, callback)

    monkeypatch.setattr("strongroom.cache.addresses.weakref.ref", referred)
    assert place_of(provider) == by_another[0]
    assert place_of(provider) == by_another[0]
