"""The caching middleware: what makes it forget, and that it hides nothing."""

from __future__ import annotations

import threading
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta

import pytest
from strongroom import (
    AESGCMEncryption,
    CachingMiddleware,
    EncryptionMiddleware,
    PrefixMiddleware,
    SecretHook,
    SecretProviderRegistry,
    SecretRotation,
    TenantContext,
    TenantMiddleware,
    ValidationMiddleware,
    generate_key,
)
from strongroom.cache import MemoryCacheStore
from strongroom.cache.resilient_store import ResilientStore
from strongroom.errors import (
    BackendUnavailableError,
    ConfigurationError,
    ConflictError,
    InvalidKeyError,
    SecretNotFoundError,
    SpecError,
)
from strongroom.middleware import Middleware
from strongroom.pipeline.fallback import FallbackProvider
from strongroom_memory import MemorySecretProvider


class Counting(MemorySecretProvider):
    """Memory that tells which keys were read, and fails where told to."""

    def __init__(self) -> None:
        super().__init__()
        self.read: list[str] = []
        self.down = False

    def get_secret(self, key):
        self.read.append(key)
        if self.down:
            raise BackendUnavailableError("down")
        return super().get_secret(key)

    def get_secrets(self, keys):
        asked = list(keys)
        self.read += asked
        return super().get_secrets(asked)


@pytest.fixture
def inner():
    provider = Counting()
    provider.set_secret("key", "value")
    return provider


@pytest.fixture(params=["one level", "two levels"])
def cached(inner, request, clock):
    l2 = MemoryCacheStore() if request.param == "two levels" else None
    return CachingMiddleware(inner, 300, l2=l2, clock=clock)


CHANGES = {
    "set": lambda provider: provider.set_secret("key", "newer"),
    "set of many": lambda provider: provider.set_secrets({"key": "newer", "x": "y"}),
    "conditional set": lambda provider: provider.set_secret_if(
        "key", "newer", provider.describe_secret("key").version
    ),
    "promotion": lambda provider: provider.promote_version(
        "key",
        provider.stage_secret("key", "newer"),
        expected_version=provider.describe_secret("key").version,
    ),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_through_it_is_seen_at_once(change, cached):
    assert cached.get_secret("key") == "value"
    change(cached)
    assert cached.get_secret("key") == "newer"


def test_so_is_a_deletion(cached):
    cached.get_secret("key")
    cached.delete_secret("key")
    with pytest.raises(SecretNotFoundError):
        cached.get_secret("key")


def test_a_creation_ends_what_was_remembered_as_absent(inner, clock):
    cached = CachingMiddleware(inner, negative_ttl_seconds=300, clock=clock)
    with pytest.raises(SecretNotFoundError):
        cached.get_secret("new")
    cached.set_secret("new", "there")
    assert cached.get_secret("new") == "there"


def test_a_staged_version_changes_nothing_until_it_is_promoted(cached):
    cached.get_secret("key")
    cached.discard_version("key", cached.stage_secret("key", "newer"))
    assert cached.get_secret("key") == "value"
    assert cached.inner.read == ["key"]


@pytest.mark.parametrize("seen", ["describe", "history"])
def test_a_version_that_changed_elsewhere_is_noticed_where_it_is_seen(seen, cached, inner):
    def look():
        if seen == "describe":
            cached.describe_secret("key")
        else:
            cached.list_versions("key")

    look()
    cached.get_secret("key")
    look()
    inner.set_secret("key", "newer")
    assert cached.get_secret("key") == "value"
    look()
    assert cached.get_secret("key") == "newer"


@pytest.mark.parametrize("seen", ["describe", "history"])
def test_also_where_it_changed_before_it_was_seen_for_the_first_time(seen, cached, inner):
    cached.get_secret("key")
    inner.set_secret("key", "newer")
    cached.describe_secret("key") if seen == "describe" else cached.list_versions("key")
    assert cached.get_secret("key") == "newer"
    cached.describe_secret("key")
    cached.get_secret("key")
    assert inner.read == ["key", "key"]  # by now it is known to be of that version


@pytest.mark.parametrize(
    ("chain", "tenant"),
    [
        (lambda one: one, None),
        (lambda one: one, "acme"),
        (lambda one: PrefixMiddleware(one, "a/"), "acme"),
        (TenantMiddleware, "acme"),
    ],
)
def test_a_change_that_is_reported_is_seen_by_who_hears_of_it_and_by_all_tenants(chain, tenant):
    """Also where the second level has the older value."""
    backend = MemorySecretProvider()
    inner = chain(backend)
    tenants = ["acme"] if isinstance(inner, TenantMiddleware) else [None, "acme", "other"]

    def read(who):
        with TenantContext(who) if who is not None else nullcontext():
            return provider.get_secret("key")

    heard = []
    provider = CachingMiddleware(inner, l2=MemoryCacheStore())
    with TenantContext(tenant) if tenant is not None else nullcontext():
        inner.set_secret("key", "old")
        provider.subscribe_changes(
            lambda changes: heard.append([[one.key for one in changes], *map(read, tenants)])
        )
        assert {read(who) for who in tenants} == {"old"}
        [stored] = backend.list_secrets()
    backend.set_secret(stored, "new")
    assert heard == [[["key"], *["new"] * len(tenants)]]
    assert {read(who) for who in tenants} == {"new"}


def test_a_conflict_says_that_somebody_changed_it(cached, inner):
    cached.get_secret("key")
    inner.set_secret("key", "newer")
    with pytest.raises(ConflictError):
        cached.set_secret_if("key", "mine", "of long ago")
    assert cached.get_secret("key") == "newer"


def test_a_write_that_failed_leaves_nothing_remembered(inner, clock):
    class Lost(Counting):
        def set_secret(self, key, value):
            super().set_secret(key, value)
            if value == "newer":
                raise BackendUnavailableError("the answer was lost")

    provider = Lost()
    provider.set_secret("key", "value")
    cached = CachingMiddleware(provider, clock=clock)
    cached.get_secret("key")
    with pytest.raises(BackendUnavailableError):
        cached.set_secret("key", "newer")
    assert cached.get_secret("key") == "newer"


def test_a_batch_asks_only_for_what_is_missing(cached, inner):
    inner.set_secret("other", "another")
    cached.get_secret("key")
    assert cached.get_secrets(["key", "other", "none"]) == {"key": "value", "other": "another"}
    assert inner.read == ["key", "other", "none"]
    assert cached.get_secrets(["key", "other"]) == {"key": "value", "other": "another"}
    assert inner.read == ["key", "other", "none"]


def test_a_batch_serves_stale_values_in_an_outage(clock):
    class Down(Counting):
        def get_secrets(self, keys):
            if self.down:
                raise BackendUnavailableError("down")
            return super().get_secrets(keys)

    provider = Down()
    provider.set_secrets({"a": "1", "b": "2"})
    cached = CachingMiddleware(provider, 10, stale_if_error_seconds=100, clock=clock)
    cached.get_secrets(["a", "b"])
    provider.down = True
    clock.pass_by(11)
    assert cached.get_secrets(["a", "b"]) == {"a": "1", "b": "2"}
    with pytest.raises(BackendUnavailableError):
        cached.get_secrets(["a", "c"])


def test_a_batch_does_not_wait_for_a_backend_that_hangs_either(clock):
    """As single reads; a batch with a key that must be asked for asks for all."""

    class Hanging(Counting):
        def get_secrets(self, keys):
            found = super().get_secrets(keys)
            if self.down:
                clock.pass_by(2)
                raise BackendUnavailableError("no answer")
            return found

    provider = Hanging()
    provider.set_secrets({"a": "1", "b": "2"})
    cached = CachingMiddleware(provider, 10, stale_if_error_seconds=1000, clock=clock)
    cached.get_secrets(["a", "b"])
    provider.down = True
    clock.pass_by(11)
    provider.read.clear()
    for _ in range(10):
        assert cached.get_secrets(["a", "b"]) == {"a": "1", "b": "2"}
    assert provider.read == ["a", "b"]
    assert cached.stats().stale == 20
    provider.down = False
    provider.set_secret("a", "newer")
    assert cached.get_secrets(["a", "b"]) == {"a": "1", "b": "2"}
    assert cached.get_secrets(["a", "none"]) == {"a": "newer"}


def test_old_versions_are_read_from_the_backend(cached, inner):
    version = inner.describe_secret("key").version
    inner.set_secret("key", "newer")
    assert cached.get_secret_version("key", version) == "value"


def test_offline_reads_and_nothing_else(inner):
    store, key = MemoryCacheStore(), generate_key()
    online = CachingMiddleware(inner, l2=store, encryption=AESGCMEncryption(key), max_age_seconds=1000)
    online.get_secret("key")
    inner.read.clear()
    offline = CachingMiddleware(
        inner, l2=store, encryption=AESGCMEncryption(key), offline=True, max_age_seconds=1000
    )
    assert offline.get_secret("key") == "value"
    assert offline.get_secrets(["key"]) == {"key": "value"}
    for call in (
        lambda: offline.get_secret("other"),
        lambda: offline.set_secret("key", "x"),
        lambda: offline.delete_secret("key"),
        offline.list_secrets,
        lambda: offline.describe_secret("key"),
        lambda: offline.list_versions("key"),
        lambda: offline.get_secret_version("key", "1"),
        lambda: offline.set_secret_if("key", "x", None),
        lambda: offline.stage_secret("key", "x"),
        lambda: offline.set_secrets({"key": "x"}),
    ):
        with pytest.raises(BackendUnavailableError, match="offline"):
            call()
    assert inner.read == []
    assert inner.get_secret("key") == "value"


class Untouchable(MemorySecretProvider):
    """Memory of which each call is noted."""

    calls: tuple[str, ...] = ()


def _noted(name):
    def call(self, *args, **options):
        self.calls += (name,)
        return getattr(MemorySecretProvider, name)(self, *args, **options)

    return call


for _name in (
    "get_secret", "get_secrets", "set_secret", "set_secret_if", "list_secrets", "describe_secret",
    "describe_secrets", "list_versions", "get_secret_version", "stage_secret", "subscribe_changes",
):  # fmt: skip
    setattr(Untouchable, _name, _noted(_name))


def test_offline_what_goes_past_the_cache_asks_the_backend_for_nothing_either(caplog):
    """A rotation left its record there, in flight, and a watch asked it at each interval."""
    backend, heard = Untouchable(), []
    store, cipher = MemoryCacheStore(), AESGCMEncryption(generate_key())
    backend.set_secret("key", "value")
    CachingMiddleware(backend, l2=store, encryption=cipher).get_secret("key")
    backend.calls = ()
    with SecretProviderRegistry(
        {"version": 1, "pipelines": {"own": {"provider": {"type": "memory"}}}}
    ) as registry:
        offline = CachingMiddleware(backend, l2=store, encryption=cipher, offline=True)
        registry.register("offline", offline, prefix="")
        rotation = SecretRotation(registry)
        for call in (rotation.rotate, rotation.resume, rotation.rollback, rotation.status_of):
            with pytest.raises(BackendUnavailableError, match="this pipeline is offline") as caught:
                call("key")
            assert "in flight" not in str(caught.value)
        with registry.watch(["key", "folder/"], heard.append) as watch:
            assert watch.alive
        assert registry.get_secret("key") == "value"
    assert (backend.calls, heard) == ((), [])
    assert "this pipeline is offline" in caplog.text


@pytest.mark.parametrize("option", [{"offline": True}, {"l2_ttl_seconds": 5}, {"max_age_seconds": 5}])
def test_options_of_a_second_level_need_one(option, inner):
    with pytest.raises(ConfigurationError, match="second level"):
        CachingMiddleware(inner, **option)


def test_no_value_is_fresh_past_the_day_of_its_rotation(inner, clock):
    due = {"key": datetime.now(UTC) + timedelta(seconds=30), "late": datetime.now(UTC) - timedelta(days=1)}
    inner.set_secret("late", "overdue")
    cached = CachingMiddleware(inner, 300, due_at=due.get, clock=clock)
    for key in due:
        cached.get_secret(key)
    clock.pass_by(31)
    for key in due:
        cached.get_secret(key)
    # One that is overdue may be rotated at any time; nobody can tell when.
    assert inner.read == ["key", "late", "key"]


def test_under_a_tenant_it_knows_that_tenant_s_values_alone(inner):
    cached = CachingMiddleware(inner)
    for tenant in ("a", "b"):
        with TenantContext(tenant):
            inner.set_secret("key", tenant)
            assert cached.get_secret("key") == tenant
    with TenantContext("a"):
        assert cached.get_secret("key") == "a"


def test_it_closes_what_is_inside_and_forgets(inner):
    cached = CachingMiddleware(inner)
    cached.get_secret("key")
    cached.close()
    assert cached.stats().entries == 0


class TestFromASpec:
    def spec(self, **caching):
        return {
            "version": 1,
            "pipelines": {
                "app": {
                    "provider": {"type": "memory"},
                    "middleware": [
                        {"type": "caching", **caching},
                        {"type": "validation", "max_length": 100},
                        {"type": "encryption", "key": generate_key()},
                    ],
                }
            },
        }

    def test_every_option_is_taken(self):
        spec = self.spec(
            ttl_seconds=60,
            max_entries=10,
            negative_ttl_seconds=5,
            stale_if_error_seconds=600,
            refresh_ahead=0.1,
            jitter=0.1,
            fetch_timeout_seconds=5,
        )
        with SecretProviderRegistry(spec) as registry:
            registry.set_secret("key", "value")
            assert registry.get_secret("key") == "value"
            caching = registry.pipeline("app").inner
            assert isinstance(caching, CachingMiddleware)
            assert registry.get_secret("key") == "value"
            assert (caching.stats().hits, caching.stats().misses) == (1, 1)

    @pytest.mark.parametrize(
        ("wrong", "where"),
        [
            ({"ttl_seconds": -1}, "ttl_seconds"),
            ({"jitter": 2}, "jitter"),
            ({"l2": {"type": "rediss"}}, "rediss"),
            ({"l2": {"path": "x"}}, "type"),
            ({"ttl": 3}, "ttl_seconds"),
        ],
    )
    def test_what_is_wrong_is_told(self, wrong, where):
        with pytest.raises(SpecError, match=where):
            SecretProviderRegistry(self.spec(**wrong))

    def test_a_reserved_or_invalid_key_is_refused_whatever_is_remembered(self):
        with SecretProviderRegistry(self.spec()) as registry:
            for key in ("a/.rotation", "../x", "", None):
                with pytest.raises(InvalidKeyError):
                    registry.get_secret(key)

    def test_events_say_where_a_value_came_from(self):
        seen: list[tuple[str, str | None]] = []

        class Hook(SecretHook):
            def after(self, event):
                seen.append((event.operation, event.source))

        with SecretProviderRegistry(self.spec()) as registry:
            registry.add_hook(Hook())
            registry.set_secret("key", "value")
            registry.get_secret("key")
            registry.get_secret("key")
            registry.get_secrets(["key"])
        assert seen == [("set", None), ("get", "backend"), ("get", "l1"), ("get", "l1")]

    def test_a_refresh_in_the_background_changes_no_event(self, clock):
        """The fetch asks the members of a fallback while the read that began it has its value already."""
        fetched, sources = threading.Event(), []

        class Backend(MemorySecretProvider):
            def get_secret(self, key):
                value = super().get_secret(key)
                fetched.set()
                return value

        class Slow(Middleware):
            def get_secret(self, key):
                value = self.inner.get_secret(key)
                assert fetched.wait(120)
                return value

        class Hook(SecretHook):
            def after(self, event):
                sources.append(event.source)

        backend, other = Backend(secrets={"key": "value"}), MemorySecretProvider()
        both = FallbackProvider(backend, others=[other], when=frozenset({"not_found"}))
        with SecretProviderRegistry({"version": 1, "pipelines": {}}) as registry:
            registry.register("app", Slow(CachingMiddleware(both, refresh_ahead=0.5, clock=clock)), prefix="")
            registry.add_hook(Hook())
            registry.get_secret("key")
            clock.pass_by(200)
            fetched.clear()
            registry.get_secret("key")
        assert sources == ["backend", "l1"]

    @pytest.mark.parametrize("order", [["caching", "tenant"], ["tenant", "caching"]])
    def test_events_of_a_batch_say_it_for_each_key(self, order):
        seen: dict[str, str | None] = {}

        class Hook(SecretHook):
            def after(self, event):
                seen[event.key] = event.source

        spec = self.spec()
        options = {"caching": {"negative_ttl_seconds": 60}}
        spec["pipelines"]["app"]["middleware"] = [{"type": one, **options.get(one, {})} for one in order]
        with SecretProviderRegistry(spec) as registry, TenantContext("one"):
            registry.add_hook(Hook())
            for key in ("a", "b"):
                registry.set_secret(key, "value")
            registry.get_secret("a")
            with pytest.raises(SecretNotFoundError):
                registry.get_secret("gone")
            registry.get_secrets(["a", "b", "gone", "never"])
            assert seen == {"a": "l1", "b": "backend", "gone": "l1", "never": "backend"}
            with pytest.raises(SecretNotFoundError):
                registry.get_secret("never")
            assert seen["never"] == "l1"

    def test_the_life_of_a_declared_secret_is_bounded_by_its_rotation(self):
        spec = self.spec()
        spec["pipelines"]["app"]["middleware"][0:] = [{"type": "caching", "ttl_seconds": 10 * 86400}]
        spec["secrets"] = {"PASSWORD": {"key": "key", "rotate_days": 1}}
        with SecretProviderRegistry(spec) as registry:
            registry.set_secret("key", "value")
            registry.get_secret("key")
            caching = registry.pipeline("app").inner
            entry = caching.cache._entries.find(None, "key")
            assert entry.expires - caching.cache._clock() <= 86400
            registry.set_secret("free", "value")
            registry.get_secret("free")
            assert caching.cache._entries.find(None, "free").expires - caching.cache._clock() > 86400

    @pytest.mark.parametrize("days", [5_000_000, 10**12])
    def test_a_rotation_beyond_the_calendar_bounds_nothing(self, days):
        spec = self.spec()
        spec["pipelines"]["app"]["middleware"][0:] = [{"type": "caching"}]
        spec["secrets"] = {"PASSWORD": {"key": "key", "rotate_days": days}}
        with SecretProviderRegistry(spec) as registry:
            registry.set_secret("key", "value")
            assert registry.get_secret("key") == "value"
            assert registry.resolve()["PASSWORD"] == "value"


def test_the_whole_chain_of_the_seed(inner):
    provider = CachingMiddleware(
        EncryptionMiddleware(ValidationMiddleware(inner), _cipher()), ttl_seconds=300
    )
    provider.set_secret("api/key", "hunter22")
    assert provider.get_secret("api/key") == "hunter22"
    assert provider.get_secret("api/key") == "hunter22"
    assert inner.read == ["api/key"]


def _cipher():
    from strongroom import AESGCMEncryption

    return AESGCMEncryption(generate_key())


FORGETTING = {
    "a write": lambda middleware: middleware.set_secret("key", "newer"),
    "invalidate": lambda middleware: middleware.invalidate("key"),
    "clear": CachingMiddleware.clear,
    "drop_all": lambda middleware: middleware.cache.drop_all(),
}


@pytest.mark.parametrize("forget", FORGETTING.values(), ids=FORGETTING)
def test_what_was_read_from_the_second_level_in_the_middle_of_forgetting_is_forgotten_too(
    forget, inner, clock, monkeypatch
):
    """Another thread reads where this process has forgotten the value and the store has it still."""
    store = MemoryCacheStore(clock=clock)
    subscribe = store.subscribe  # what is dropped is heard of much later
    monkeypatch.setattr(store, "subscribe", lambda _: subscribe(lambda name: None))
    middleware = CachingMiddleware(inner, 300, l2=store, clock=clock)
    assert middleware.get_secret("key") == "value"
    read_between = []

    def after_a_read(method):
        def called(store, names, **options):
            other = threading.Thread(target=lambda: read_between.append(middleware.get_secret("key")))
            other.start()
            other.join()
            method(store, names, **options)

        return called

    inner.set_secret("key", "newer")
    for name in ("drop", "clear"):
        monkeypatch.setattr(ResilientStore, name, after_a_read(getattr(ResilientStore, name)))
    forget(middleware)
    assert set(read_between) == {"value"}  # it was in the second level
    assert middleware.get_secret("key") == "newer"


@pytest.mark.parametrize("level", ["entries", "names", "store"])
@pytest.mark.parametrize("write", ["set", "set of many"])
def test_a_signal_handler_writes_nothing_that_the_cache_could_not_forget(inner, clock, level, write):
    """It comes while its own thread changes the entries: the write is refused, and not done yet."""
    cached = CachingMiddleware(inner, 300, l2=MemoryCacheStore(), clock=clock)
    assert cached.get_secret("key") == "value"
    lock = {
        "entries": cached.cache._l1._lock,
        "names": cached.cache._level._lock,
        "store": cached.cache._store._lock,
    }[level]
    with lock, pytest.raises(BackendUnavailableError, match="as in a signal handler"):
        CHANGES[write](cached)
    assert inner.get_secret("key") == cached.get_secret("key") == "value"
    cached.set_secret("key", "newer")
    assert cached.get_secret("key") == "newer"
