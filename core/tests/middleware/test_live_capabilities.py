"""Descriptions in batches, subscriptions and leases: through each middleware, the guard, a pipeline and a registry."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from strongroom import (
    BatchDescriber,
    CachingMiddleware,
    EncryptionMiddleware,
    Lease,
    LeaseProvider,
    PrefixMiddleware,
    ReadOnlyMiddleware,
    RetryMiddleware,
    SecretChange,
    SecretMetadata,
    SecretProviderRegistry,
    TenantContext,
    TenantMiddleware,
    ValidationMiddleware,
    Watchable,
    current_tenant,
)
from strongroom.encryption import AESGCMEncryption, generate_key
from strongroom.errors import (
    BackendUnavailableError,
    ConfigurationError,
    InvalidKeyError,
    SecretNotFoundError,
    StrongroomError,
    ValidationError,
)
from strongroom.hooks import SecretHook, acting_as
from strongroom.hooks.identity import actor
from strongroom.middleware.prefix import StripPrefixMiddleware
from strongroom.pipeline import Pipeline
from strongroom.pipeline.fallback import FallbackProvider
from strongroom.providers import capabilities, guard

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Subscription:
    def __init__(self, subscribed, callback):
        self.subscribed, self.callback = subscribed, callback
        subscribed.append(callback)

    def close(self):
        self.subscribed.remove(self.callback)


class Live:
    """A stranger's provider that tells of changes and issues leases."""

    def __init__(self):
        self.kept = {}
        self.subscribed = []
        self.revoked = []
        self.failing = 0

    def get_secret(self, key):
        return self.kept[key]

    def set_secret(self, key, value):
        self.kept[key] = value

    def delete_secret(self, key):
        del self.kept[key]

    def list_secrets(self, prefix=""):
        return sorted(key for key in self.kept if key.startswith(prefix))

    def describe_secret(self, key):
        return self.describe_secrets([key])[key]

    def describe_secrets(self, keys):
        return {key: SecretMetadata(key, self.kept[key]) for key in keys if key in self.kept}

    def subscribe_changes(self, callback):
        return Subscription(self.subscribed, callback)

    def tell(self, *keys):
        for callback in self.subscribed:
            callback([SecretChange(key, "set", "1", NOW) for key in keys])

    def issue_lease(self, key):
        return Lease(f"{key}/id", key, {"password": "s3cret-of-lease"}, NOW, NOW + timedelta(hours=1), True)

    def renew_lease(self, lease):
        if self.failing:
            self.failing -= 1
            raise ConnectionError(lease.values["password"])
        if lease.id != f"{lease.key}/id":
            raise SecretNotFoundError(lease.key)
        return Lease(lease.id, lease.key, lease.values, NOW, NOW + timedelta(hours=2), True)

    def revoke_lease(self, lease):
        self.revoked.append((lease.id, lease.key))


class InTenant(TenantMiddleware):
    def tenant(self):
        return "acme"


WRAPPED = {
    "guard": (guard, ""),
    "pipeline": (lambda inner: Pipeline(inner, name="app"), ""),
    "caching": (CachingMiddleware, ""),
    "prefix": (lambda inner: PrefixMiddleware(inner, "team/"), "team/"),
    "read-only": (ReadOnlyMiddleware, ""),
    "retry": (lambda inner: RetryMiddleware(inner, base_seconds=0), ""),
    "tenant": (InTenant, "tenants/acme/"),
    "validation": (lambda inner: ValidationMiddleware(inner, key_pattern="[a-z/]+"), ""),
}


@pytest.fixture(params=WRAPPED)
def wrapped(request):
    wrap, before = WRAPPED[request.param]
    live = Live()
    return live, wrap(live), before


def test_each_layer_has_the_capabilities_of_what_is_inside(wrapped):
    """The capabilities that make secrets live pass like those of the first contract."""
    live, provider, _ = wrapped
    assert capabilities(live) <= capabilities(provider)
    assert {BatchDescriber, Watchable, LeaseProvider} <= capabilities(provider)


def test_encryption_passes_changes_and_descriptions_on_and_refuses_leases():
    """Nobody encrypted what a server issues."""
    cipher = AESGCMEncryption(generate_key())
    members = {name: one for name, one in vars(Live).items() if not name.endswith("_lease")}
    live = type("Pushing", (), members)()
    provider = EncryptionMiddleware(live, cipher)
    assert {BatchDescriber, Watchable} <= capabilities(provider)
    heard = []
    provider.subscribe_changes(heard.extend)
    live.tell("a")
    assert [change.key for change in heard] == ["a"]
    with pytest.raises(ConfigurationError, match="leases"):
        EncryptionMiddleware(Live(), cipher)


def test_descriptions_carry_the_names_of_who_asks(wrapped):
    """A key that is not there is left out."""
    live, provider, before = wrapped
    live.kept[f"{before}a"] = "7"
    assert provider.describe_secrets(["a", "b"]) == {"a": SecretMetadata("a", "7")}


def test_changes_carry_the_names_of_who_asks(wrapped):
    """What lies outside of the own names is not told, and a subscription that was cut off is."""
    live, provider, before = wrapped
    heard = []
    subscription = provider.subscribe_changes(heard.append)
    live.tell(f"{before}a", f"{before}b")
    if before:
        live.tell("elsewhere", before)
    live.tell()
    subscription.close()
    live.tell(f"{before}c")
    assert [[change.key for change in changes] for changes in heard] == [["a", "b"], []]


def test_leases_carry_the_names_of_who_asks(wrapped):
    """Issued, renewed and revoked under the caller's name; the backend gets its own."""
    live, provider, before = wrapped
    lease = provider.issue_lease("a")
    assert (lease.key, lease.id) == ("a", f"{before}a/id")
    renewed = provider.renew_lease(lease)
    assert renewed.key == "a"
    assert renewed.expires_at > lease.expires_at
    provider.revoke_lease(renewed)
    assert live.revoked == [(f"{before}a/id", f"{before}a")]


def test_a_lease_shows_no_value():
    """In `repr` as in errors of a provider that puts one into its own."""
    live = Live()
    lease = live.issue_lease("a")
    assert "s3cret" not in repr(lease)
    assert lease.as_json() == '{"password": "s3cret-of-lease"}'
    live.failing = 1
    with pytest.raises(StrongroomError) as failed:
        guard(live).renew_lease(lease)
    assert isinstance(failed.value, BackendUnavailableError)
    assert "s3cret" not in f"{failed.value!r} {failed.value.hint} {failed.value.__cause__!r}"
    assert failed.value.__context__ is None


def test_a_strangers_lease_that_is_none_is_told():
    """The guard looks at what comes back."""
    live = Live()
    live.issue_lease = lambda key: {"password": key}
    with pytest.raises(StrongroomError, match="returned a dict, not a Lease"):
        guard(live).issue_lease("a")


def test_a_renewal_is_repeated_and_an_issue_is_not():
    """Nobody would revoke the lease whose answer was lost."""
    live = Live()
    provider = RetryMiddleware(guard(live), base_seconds=0)
    lease = provider.issue_lease("a")
    live.failing = 2
    assert provider.renew_lease(lease).expires_at == NOW + timedelta(hours=2)
    calls = []

    def refuse(key):
        calls.append(key)
        raise ConnectionError

    live.issue_lease = refuse
    with pytest.raises(BackendUnavailableError):
        RetryMiddleware(guard(live), base_seconds=0).issue_lease("a")
    assert calls == ["a"]


def test_a_lease_that_breaks_a_rule_is_given_back():
    """Nobody gets its values, and it does not live on."""
    live = Live()
    provider = ValidationMiddleware(guard(live), max_length=5)
    with pytest.raises(ValidationError):
        provider.issue_lease("a")
    assert live.revoked == [("a/id", "a")]
    with pytest.raises(InvalidKeyError):
        ValidationMiddleware(guard(live), key_pattern="x").issue_lease("a")


def test_a_cache_forgets_what_changed_before_it_is_told():
    """Whoever hears of a change and reads gets the new value; after a cut nothing old is left."""
    live = Live()
    provider = CachingMiddleware(live)
    live.kept["a"] = "old"
    heard = []
    provider.subscribe_changes(lambda changes: heard.append((changes, provider.get_secret("a"))))
    assert provider.get_secret("a") == "old"
    live.kept["a"] = "new"
    live.tell("a")
    live.kept["a"] = "newer"
    live.tell()
    assert [value for _, value in heard] == ["new", "newer"]


def test_a_cache_forgets_what_a_batch_of_descriptions_shows_to_be_older():
    """As it does with a single one."""
    live = Live()
    provider = CachingMiddleware(live)
    live.kept["a"] = "1"
    provider.describe_secrets(["a"])
    assert provider.get_secret("a") == "1"
    live.kept["a"] = "2"
    provider.describe_secrets(["a"])
    assert provider.get_secret("a") == "2"


def test_a_fallback_tells_of_no_changes_and_issues_no_leases():
    """What changes at one member may be hidden by another."""
    fallback = FallbackProvider(Live(), others=[], when=frozenset({"not_found"}))
    assert not {Watchable, LeaseProvider} & capabilities(fallback)
    assert BatchDescriber in capabilities(fallback)


def test_a_subscription_is_the_tenants_who_made_it():
    """Whoever calls back may be in no tenant, or in another."""
    live = Live()
    provider = TenantMiddleware(guard(live))
    heard = []
    with TenantContext("acme"):
        provider.subscribe_changes(heard.extend)
    with TenantContext("other"):
        live.tell("tenants/other/a", "tenants/acme/a")
    assert [change.key for change in heard] == ["a"]


def test_a_stripped_prefix_is_put_back():
    """As in lists."""
    live = Live()
    heard = []
    StripPrefixMiddleware(guard(live), "dev/").subscribe_changes(heard.extend)
    live.tell("a")
    assert [change.key for change in heard] == ["dev/a"]


def test_hooks_see_each_operation_and_names_that_are_reserved_stay_hidden():
    """With an event for each key of a batch."""
    seen = []

    class Recorder(SecretHook):
        def after(self, event):
            seen.append((event.operation, event.key, event.outcome))

    live = Live()
    live.kept["a"] = "1"
    pipeline = Pipeline(live, name="app", hooks=[Recorder()])
    values = []
    pipeline.observe_values(values.append)
    pipeline.describe_secrets(["a", "b"])
    heard = []
    pipeline.subscribe_changes(heard.append)
    live.tell("a", "a/.rotation/b")
    live.tell("a/.rotation/b")
    pipeline.revoke_lease(pipeline.renew_lease(pipeline.issue_lease("a")))
    assert seen == [
        ("describe", "b", "not_found"), ("describe", "a", "ok"), ("watch", "", "ok"),
        ("issue", "a", "ok"), ("renew", "a", "ok"), ("revoke", "a", "ok"),
    ]  # fmt: skip
    assert [[change.key for change in changes] for changes in heard] == [["a"]]
    assert values == ["s3cret-of-lease"]


def test_a_subscriber_has_its_own_tenant_and_actor_whoever_writes():
    """A provider may call back on the writer's thread, and the writer acts for another tenant."""
    heard = []

    def hear(_):
        heard.append((current_tenant(), actor()))

    live = Live()
    pipeline = Pipeline(CachingMiddleware(live), name="app")
    with TenantContext("a"), acting_as("ann"):
        pipeline.subscribe_changes(hear)
    pipeline.subscribe_changes(hear)
    with TenantContext("b"), acting_as("bob"):
        live.tell("x")
        live.tell()
    assert heard == [("a", "ann"), (None, actor())] * 2


def test_a_registry_describes_keys_of_several_pipelines():
    """In one batch where a provider has it, else one by one."""
    live = Live()
    live.kept["a"] = "7"
    with SecretProviderRegistry(
        {"version": 1, "pipelines": {"app": {"provider": {"type": "memory", "secrets": {"x": "1"}}}}}
    ) as registry:
        registry.register("live", live, prefix="a")
        found = registry.describe_secrets(["x", "a", "y"])
    assert {key: metadata.key for key, metadata in found.items()} == {"x": "x", "a": "a"}
