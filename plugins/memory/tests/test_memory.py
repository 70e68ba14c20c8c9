"""What is special about the memory provider."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from strongroom.errors import ConfigurationError, ConflictError, InvalidKeyError, SecretNotFoundError
from strongroom.providers import CAPABILITIES, LeaseProvider, capabilities
from strongroom_memory import MemorySecretProvider
from strongroom_memory.config import MemoryConfig
from strongroom_memory.plugin import strongroom_providers

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


def test_it_has_every_capability():
    """Memory is the reference: nothing is missing but leases, which come from outside."""
    assert capabilities(MemorySecretProvider()) == set(CAPABILITIES) - {LeaseProvider}


def test_initial_secrets():
    """Secrets may be there from the start; the mapping that was given is not the store."""
    given = {"a": "1", "b/c": ""}
    provider = MemorySecretProvider(secrets=given)
    provider.set_secret("d", "2")
    assert provider.get_secrets(["a", "b/c", "d"]) == {"a": "1", "b/c": "", "d": "2"}
    assert given == {"a": "1", "b/c": ""}


def test_initial_secrets_keep_to_the_rules():
    """A key that breaks the rules is refused at construction."""
    with pytest.raises(InvalidKeyError):
        MemorySecretProvider(secrets={"/a": "1"})


def test_times_come_from_the_clock():
    """Creation and update are when they were, in UTC whatever the clock's zone."""
    clock = Clock()
    provider = MemorySecretProvider(clock=clock)
    provider.set_secret("key", "one")
    clock.now = (NOON + timedelta(hours=1)).astimezone(timezone(timedelta(hours=5)))
    provider.set_secret("key", "two")
    described = provider.describe_secret("key")
    assert (described.created_at, described.updated_at) == (NOON, NOON + timedelta(hours=1))
    assert described.updated_at.tzinfo is UTC


def test_a_clock_that_goes_back():
    """A secret is never updated before it was created."""
    clock = Clock()
    provider = MemorySecretProvider(clock=clock)
    provider.set_secret("key", "one")
    clock.now = NOON - timedelta(days=1)
    provider.set_secret("key", "two")
    assert provider.describe_secret("key").updated_at == NOON


def test_a_promoted_version_dates_from_its_promotion():
    """A secret's age counts from when readers got the value, not from when it was staged."""
    clock = Clock()
    provider = MemorySecretProvider(secrets={"key": "old"}, clock=clock)
    before = provider.describe_secret("key").version
    pending = provider.stage_secret("key", "new")
    clock.now = NOON + timedelta(days=1)
    provider.promote_version("key", pending, expected_version=before)
    assert provider.describe_secret("key").updated_at == NOON + timedelta(days=1)
    assert provider.list_versions("key")[0].created_at == NOON


def test_oldest_versions_are_dropped():
    """Beyond `max_versions` the oldest ones go; pending ones stay."""
    provider = MemorySecretProvider(max_versions=2)
    provider.set_secret("key", "0")
    pending = provider.stage_secret("key", "pending")
    for turn in range(1, 5):
        provider.set_secret("key", str(turn))
    states = [version.state for version in provider.list_versions("key")]
    assert states == ["current", "pending"]
    assert provider.get_secret_version("key", pending) == "pending"


def test_one_version_at_least():
    """Less than one version is a `ConfigurationError`."""
    with pytest.raises(ConfigurationError):
        MemorySecretProvider(max_versions=0)


def test_only_pending_versions_are_promoted_or_discarded():
    """A current or previous version is a conflict."""
    provider = MemorySecretProvider(secrets={"key": "one"})
    provider.set_secret("key", "two")
    current, previous = (version.version for version in provider.list_versions("key"))
    for version in (current, previous):
        with pytest.raises(ConflictError):
            provider.promote_version("key", version, expected_version=current)
        with pytest.raises(ConflictError):
            provider.discard_version("key", version)
    assert provider.get_secret("key") == "two"


def test_a_discarded_new_key_leaves_nothing():
    """A key that only ever was staged is gone with its last pending version."""
    provider = MemorySecretProvider()
    provider.discard_version("key", provider.stage_secret("key", "value"))
    with pytest.raises(SecretNotFoundError):
        provider.list_versions("key")


def test_a_delete_takes_pending_versions_along():
    """What was pending when a key was deleted cannot be promoted afterwards."""
    provider = MemorySecretProvider(secrets={"key": "one"})
    pending = provider.stage_secret("key", "two")
    provider.delete_secret("key")
    with pytest.raises(SecretNotFoundError):
        provider.promote_version("key", pending, expected_version=None)


def test_errors_name_the_provider():
    """Errors of the provider's own carry its type name."""
    provider = MemorySecretProvider(secrets={"key": "one"})
    with pytest.raises(SecretNotFoundError) as missing:
        provider.get_secret("absent")
    with pytest.raises(ConflictError) as conflict:
        provider.set_secret_if("key", "two", None)
    assert missing.value.provider == conflict.value.provider == "memory"


def test_config_and_constructor_agree():
    """The options of the descriptor are the constructor's own, and its `repr` shows no value."""
    (plugin,) = strongroom_providers()
    config = MemoryConfig(secrets={"key": "hunter2"}, max_versions=3)
    provider = plugin.load()(**config.model_dump())
    assert provider.get_secret("key") == "hunter2"
    assert "hunter2" not in repr(config)
    assert plugin.name == provider.type_name
