"""Names in a shared level, and drops: made of what decides which secret is meant, and of nothing else."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import weakref
from functools import partial
from pathlib import Path

import pytest
from cache_support import Clock
from sampling import crossed
from strongroom import (
    CachingMiddleware,
    EncryptionMiddleware,
    PrefixMiddleware,
    RetryMiddleware,
    SecretHook,
    SecretProviderRegistry,
    TenantContext,
    TenantMiddleware,
    ValidationMiddleware,
    generate_key,
)
from strongroom.aio import AsyncSecretRegistry
from strongroom.cache import MemoryCacheStore
from strongroom.cache.addresses import DECIDES, address_of, component_address, place_of, sources_of
from strongroom.cache.second_level import SecondLevel
from strongroom.encryption import AESGCMEncryption
from strongroom.errors import BackendUnavailableError, ConfigurationError
from strongroom.middleware import ReadOnlyMiddleware
from strongroom.pipeline import Pipeline
from strongroom.plugins import finder
from strongroom.providers import guard
from strongroom.rotation import SecretRotation
from strongroom_env import EnvSecretProvider
from strongroom_file import FileCacheStore, FileSecretProvider
from strongroom_memory import MemorySecretProvider

KEY = generate_key()

MUST_NOT = {
    ("provider", "memory"): "secrets max_versions",
    ("provider", "env"): "",
    ("provider", "file"): "encryption_key key_file older_keys max_versions timeout",
    (
        "provider",
        "vault",
    ): "token auth verify client_cert client_key timeout max_connections proxies kv_version "
    "destroy_on_delete list_deleted deadline",
    # Region, address and account of the next two are asked for, as whoever is logged in has them.
    (
        "provider",
        "aws",
    ): "region_name endpoint_url profile_name access_key_id secret_access_key session_token "
    "role_arn role_session_name external_id sts_endpoint_url verify kms_key_id timeout deadline max_connections "
    "recovery_window_days force_delete tags",
    ("provider", "aws.parameters"): "region_name endpoint_url profile_name access_key_id secret_access_key "
    "session_token role_arn role_session_name external_id sts_endpoint_url verify kms_key_id timeout deadline "
    "max_connections tier",
    ("provider", "aws.sts"): "region_name duration_seconds endpoint_url profile_name access_key_id "
    "secret_access_key session_token role_session_name external_id verify timeout max_connections",
    ("provider", "vault.leases"): "token auth verify client_cert client_key timeout max_connections proxies "
    "deadline",
    ("provider", "gcp"): "credentials credentials_file transport timeout deadline max_workers replication "
    "kms_key_name labels",
    ("provider", "azure"): "credential client_options timeout deadline max_workers purge tags",
    ("provider", "keyring"): "",
    (
        "provider",
        "etcd",
    ): "username password encryption_key key_file older_keys ca_file client_cert client_key "
    "max_versions destroy_on_delete timeout deadline max_connections max_request_bytes max_txn_ops",
    ("provider", "postgresql"): "username password encryption_key key_file older_keys max_versions timeout "
    "destroy_on_delete deadline max_connections pooler migrate",
    (
        "middleware",
        "caching",
    ): "ttl_seconds max_entries negative_ttl_seconds stale_if_error_seconds refresh_ahead "
    "jitter fetch_timeout_seconds l2 l2_ttl_seconds encryption l2_timeout_seconds offline max_age_seconds",
    ("middleware", "encryption"): "algorithm key older_keys migrate",
    ("middleware", "prefix"): "",
    ("middleware", "read-only"): "",
    ("middleware", "retry"): "attempts base_seconds max_seconds deadline_seconds",
    ("middleware", "tenant"): "",
    ("middleware", "validation"): "key_pattern min_length max_length forbid json_schema",
    ("encryption", "aes-gcm"): "key",
    ("encryption", "chacha20"): "key",
    ("encryption", "fernet"): "key",
    ("encryption", "vault.transit"): "url token namespace auth verify client_cert client_key timeout "
    "max_connections proxies key_name mount_point derived",
}
"""Every option that must not change a name. All others must."""


@pytest.mark.parametrize("component", MUST_NOT, ids=lambda one: f"{one[0]}-{one[1]}")
def test_each_option_changes_the_name_or_must_not(component):
    kind, name = component
    fields = finder.find(kind, name).config.model_fields
    options = [info.alias or field for field, info in fields.items()]
    must_not = set(MUST_NOT[component].split())
    assert must_not.isdisjoint(DECIDES[component])
    assert must_not | DECIDES[component] == set(options), (
        "a new option: does it decide which secret is meant?"
    )
    plain = component_address(kind, name, dict.fromkeys(options))
    for option in options:
        changed = component_address(kind, name, {**dict.fromkeys(options), option: "x"})
        assert (changed == plain) == (option in must_not), option


@pytest.mark.parametrize(
    "url",
    [
        "postgres://a:1@db/app",
        "postgresql://b:2@db/app?sslmode=require",
        "postgresql://db/app?connect_timeout=3",
        "postgresql://DB/app",
        "postgresql://app:1@db",
        "postgresql://db?user=app",
        "postgresql://other:1@db/?user=app",
    ],
)
def test_credentials_and_spelling_in_a_url_of_postgresql_change_no_name(url):
    plain = component_address("provider", "postgresql", {"url": "postgresql://db/app"})
    assert component_address("provider", "postgresql", {"url": url}) == plain
    other = component_address("provider", "postgresql", {"url": f"{url.partition('?')[0]}?dbname=other"})
    assert other != plain


@pytest.mark.parametrize(
    "changed",
    [
        {"url": "HTTPS://Vault.example.com:443/"},
        {"namespace": "team/"},
        {"namespace": "/team"},
        {"mount_point": "kv/"},
    ],
    ids=str,
)
def test_another_spelling_of_one_address_changes_no_name(changed):
    given = {"url": "https://vault.example.com", "namespace": "team", "mount_point": "kv"}
    plain = component_address("provider", "vault", given)
    assert component_address("provider", "vault", given | changed) == plain


@pytest.mark.parametrize(
    "changed",
    [
        {"url": "http://vault.example.com"},
        {"url": "https://vault.example.com:4430"},
        {"url": "https://vault.example.com/Behind"},
        {"namespace": "team/a"},
        {"namespace": "Team"},
    ],
    ids=str,
)
def test_another_address_changes_the_name(changed):
    given = {"url": "https://vault.example.com/behind", "namespace": "team", "mount_point": "kv"}
    plain = component_address("provider", "vault", given)
    assert component_address("provider", "vault", given | changed) != plain


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("postgresql://a:1@db", "postgresql://b:1@db"),
        ("postgresql://db?user=a", "postgresql://db?user=b"),
        ("postgresql://db:5433/app", "postgresql://db/app"),
        ("postgresql://db/App", "postgresql://db/app"),
        ("postgresql://one,two:5433/app", "postgresql://one,two/app"),
    ],
)
def test_another_database_of_postgresql_changes_the_name(one, other):
    """Without a name it is the one that is called as the user."""
    first, second = (component_address("provider", "postgresql", {"url": url}) for url in (one, other))
    assert first != second


@pytest.mark.parametrize(
    ("endpoints", "same"),
    [
        (["https://b", "HTTPS://A.example.com:2379/"], True),
        (["https://a.example.com", "https://b", "https://b:2379"], True),
        (["https://a.example.com:443", "https://b"], False),  # etcd's usual port is its own
        (["http://a.example.com", "https://b"], False),
        (["https://a.example.com"], False),
    ],
    ids=str,
)
def test_another_spelling_of_members_changes_no_name(endpoints, same):
    plain = component_address("provider", "etcd", {"endpoints": ["https://a.example.com", "https://b"]})
    assert (component_address("provider", "etcd", {"endpoints": endpoints}) == plain) is same


def test_one_member_may_be_a_text_or_a_list():
    texts = [
        component_address("provider", "etcd", {"endpoints": one}) for one in ("https://b", ["https://b"])
    ]
    assert texts[0] == texts[1]


@pytest.mark.parametrize(
    ("url", "same"),
    [
        ("postgresql://A,B/app", True),
        ("postgresql://a,b:5432/app", False),  # without a port PGPORT decides
        ("postgresql://a,b/App", False),
        ("postgresql://%2Frun%2FA/app", False),
    ],
)
def test_another_spelling_of_hosts_of_postgresql_changes_no_name(url, same):
    plain = component_address("provider", "postgresql", {"url": "postgresql://a,b/app"})
    assert (component_address("provider", "postgresql", {"url": url}) == plain) is same
    folders = [
        component_address("provider", "postgresql", {"url": f"postgresql://%2Frun%2F{one}/app"})
        for one in "aA"
    ]
    assert folders[0] != folders[1]


@pytest.mark.parametrize(
    ("one", "other"),
    [({"a": "https://a"}, {"a": "https://b"}), ([{"host": "a"}], [{"host": "b"}]), ([1], [2])],
    ids=str,
)
def test_endpoints_of_another_form_tell_the_components_of_third_parties_apart(one, other):
    first, second = (component_address("provider", "acme", {"endpoints": value}) for value in (one, other))
    assert first != second


def test_an_empty_namespace_is_none():
    plain = component_address("provider", "vault", {"url": "https://vault.example.com"})
    assert (
        component_address("provider", "vault", {"url": "https://vault.example.com", "namespace": ""}) == plain
    )


def test_no_known_component_is_missing_from_the_table():
    assert set(DECIDES) == set(MUST_NOT)
    shipped = {
        (one.kind, one.name)
        for one in finder.list_components()
        if one.kind in {"provider", "middleware", "encryption"} and one.distribution.startswith("strongroom")
    }
    assert set(DECIDES) <= shipped


def test_of_a_stranger_s_component_every_option_counts():
    plain = component_address("provider", "acme", {"url": "a", "token": "t", "shard": None}, ["url"])
    for option, value in (("url", "b"), ("token", "other"), ("shard", 3)):
        changed = component_address(
            "provider", "acme", {"url": "a", "token": "t", "shard": None, option: value}, ["url"]
        )
        assert changed != plain
    assert "other" not in repr(component_address("provider", "acme", {"token": "other"}, []))
    assert component_address("middleware", "acme", {}) is not None  # it may do anything to keys and values


def test_paths_are_whole(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    address = component_address("provider", "file", {"file_path": Path("a.enc")})
    assert address[2] == [["file_path", str(tmp_path / "a.enc")]]
    assert FileSecretProvider("a.enc", "a passphrase").address() == {"file_path": str(tmp_path / "a.enc")}


def test_objects_and_specs_tell_the_same_place(tmp_path):
    made = FileSecretProvider(tmp_path / "a.enc", "a passphrase")
    spec = spec_of([{"type": "caching"}], file_path=str(tmp_path / "a.enc"))
    with SecretProviderRegistry(spec) as registry:
        (source,) = sources_of(registry.pipeline("app"), "key")
    assert source.place == place_of(made)


def test_a_chain_made_in_python_tells_its_address():
    env = EnvSecretProvider("A_")
    plain = address_of(env)
    for same in (
        RetryMiddleware(env),
        ReadOnlyMiddleware(env),
        ValidationMiddleware(env),
        CachingMiddleware(env),
    ):
        assert address_of(same) == plain
    others = [
        EnvSecretProvider("B_"),
        PrefixMiddleware(env, "a/"),
        PrefixMiddleware(env, "b/"),
        TenantMiddleware(env),
        TenantMiddleware(env, template="x/{tenant}/{key}"),
        EncryptionMiddleware(env, AESGCMEncryption(KEY)),
    ]
    assert len({plain, *map(address_of, others)}) == 7
    assert address_of(MemorySecretProvider()) is None


def test_a_store_that_others_share_is_refused_without_an_address(tmp_path):
    store = FileCacheStore(tmp_path / "cache.db")
    for chain in (MemorySecretProvider(), PrefixMiddleware(MemorySecretProvider(), "a/")):
        with pytest.raises(ConfigurationError, match="has no address") as caught:
            CachingMiddleware(chain, l2=store, encryption=AESGCMEncryption(KEY), l2_timeout_seconds=120)
        assert 'namespace="' in caught.value.hint


class Renaming(PrefixMiddleware):
    """A third party's middleware, which tells nobody what it does."""

    address = None


def test_in_one_process_a_part_without_an_address_is_told_by_the_object_that_it_is():
    """Two chains over one provider share entries only where they mean the same, and nobody gets its place."""
    provider, store, read = MemorySecretProvider(), MemoryCacheStore(), []
    provider.set_secrets({"db": "plain", "a/db": "of a", "b/db": "of b"})

    def source(chain):
        class Hook(SecretHook):
            def after(self, event):
                read.append(event.source)

        pipeline = Pipeline(cached(chain), name="app", hooks=[Hook()])
        return pipeline.get_secret("db"), read[-1]

    def cached(chain):
        return CachingMiddleware(chain, l2=store, encryption=AESGCMEncryption(KEY), l2_timeout_seconds=120)

    chains = [provider, PrefixMiddleware(provider, "a/"), PrefixMiddleware(provider, "b/")]
    strange = Renaming(provider, "a/")
    expected = ["plain", "of a", "of b", "of a"]
    assert [source(one) for one in (*chains, strange)] == [(value, "backend") for value in expected]
    again = [provider, *(PrefixMiddleware(provider, prefix) for prefix in ("a/", "b/")), strange]
    assert [source(one) for one in again] == [(value, "l2") for value in expected]
    places = set()
    for _ in range(20):
        places.add(place_of(MemorySecretProvider()))
        gc.collect(0)
    assert len(places) == 20


def test_a_strangers_provider_is_the_same_place_behind_each_of_its_guards():
    class Stranger:
        __slots__ = ("__weakref__",)
        get_secret = set_secret = delete_secret = list_secrets = print

    class Firm(Stranger):
        __slots__ = ()
        __eq__ = None
        __hash__ = None

    for stranger in (Stranger(), Firm(), object()):
        made = guard(stranger) if isinstance(stranger, Stranger) else stranger
        assert place_of(made) == place_of(stranger)
    assert place_of(Stranger()) != place_of(Firm())


def test_with_a_namespace_or_an_address_it_is_shared(tmp_path):
    store = FileCacheStore(tmp_path / "cache.db")
    CachingMiddleware(MemorySecretProvider(), l2=store, encryption=AESGCMEncryption(KEY), namespace="mine")
    CachingMiddleware(EnvSecretProvider(), l2=store, encryption=AESGCMEncryption(KEY))


def test_objects_without_an_address_share_the_level_that_a_namespace_names(tmp_path, clock):
    """Each host has an object of its own; its place there means nothing to the others."""
    stored, reads = {"key": "old"}, []

    class Plain:
        def get_secret(self, key):
            reads.append(key)
            return stored[key]

        def set_secret(self, key, value):
            stored[key] = value

        def delete_secret(self, key):
            del stored[key]

        def list_secrets(self, prefix=""):
            return sorted(stored)

    def host(namespace="ours"):
        store = FileCacheStore(tmp_path / "l2.db", timeout_seconds=30)
        options = {"encryption": AESGCMEncryption(KEY), "l2_timeout_seconds": 30, "namespace": namespace}
        return CachingMiddleware(Plain(), 1, l2_ttl_seconds=300, l2=store, clock=clock, **options)

    here, there, elsewhere = host(), host(), host("another's")
    assert [one.get_secret("key") for one in (here, there, elsewhere)] == ["old"] * 3
    assert len(reads) == 2
    here.set_secret("key", "new")
    clock.pass_by(2)  # beyond the first level
    assert [one.get_secret("key") for one in (there, here)] == ["new"] * 2
    assert len(reads) == 3
    for one in (here, there, elsewhere):
        one.close()


def spec_of(middleware, **options):
    provider = {"type": "file", "encryption_key": "a passphrase", **options}
    return {"version": 1, "pipelines": {"app": {"provider": provider, "middleware": middleware}}}


class TestWithASpec:
    """Two hosts with one second level in a file."""

    @pytest.fixture
    def host(self, tmp_path, request):
        def made(*inside, store="store.enc", **caching):
            l2 = {"type": "file.cache", "path": str(tmp_path / "cache.db")}
            cipher = {"type": "aes-gcm", "key": KEY}
            first = {"type": "caching", "l2": l2, "encryption": cipher, "l2_timeout_seconds": 10, **caching}
            registry = SecretProviderRegistry(spec_of([first, *inside], file_path=str(tmp_path / store)))
            request.addfinalizer(registry.close)
            return registry

        return made

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ({"type": "prefix", "prefix": "prod/"}, {"type": "prefix", "prefix": "staging/"}),
            (
                {"type": "tenant", "template": "prod/{tenant}/{key}"},
                {"type": "tenant", "template": "dev/{tenant}/{key}"},
            ),
        ],
        ids=["prefix", "template"],
    )
    def test_what_renames_keeps_environments_apart(self, host, one, other):
        prod, staging = host(one), host(other)
        with TenantContext("acme"):
            staging.set_secret("db", "staging's")
            prod.set_secret("db", "prod's")
            assert staging.get_secret("db") == "staging's"
            assert prod.get_secret("db") == "prod's"

    def test_two_stores_are_apart(self, host):
        one, other = host(store="one.enc"), host(store="other.enc")
        one.set_secret("db", "one's")
        other.set_secret("db", "other's")
        assert (one.get_secret("db"), other.get_secret("db")) == ("one's", "other's")

    def test_what_decides_nothing_keeps_the_name(self, host):
        host().set_secret("db", "value")
        host().get_secret("db")
        other = host({"type": "retry", "attempts": 7}, {"type": "read-only"}, ttl_seconds=5, jitter=0.5)
        caching = other.pipeline("app").inner
        caching._fetch = lambda key: pytest.fail(f"{key} was fetched")
        assert other.get_secret("db") == "value"


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
