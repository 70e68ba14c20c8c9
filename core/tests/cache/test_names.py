"""Names in a store that others share: the same for the same secret, and different for every other."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest
from cache_support import KEY
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
)
from strongroom.cache import MemoryCacheStore
from strongroom.cache.addresses import DECIDES, address_of, component_address, place_of, sources_of
from strongroom.encryption import AESGCMEncryption
from strongroom.errors import ConfigurationError
from strongroom.middleware import ReadOnlyMiddleware
from strongroom.pipeline import Pipeline
from strongroom.plugins import finder
from strongroom.providers import guard
from strongroom_env import EnvSecretProvider
from strongroom_file import FileCacheStore, FileSecretProvider
from strongroom_memory import MemorySecretProvider

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
