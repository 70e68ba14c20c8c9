"""The kit's tests of versions."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from strongroom.errors import ConflictError, SecretNotFoundError, SecretTooLargeError, ValidationError
from strongroom.providers import ConditionalWriter, Describer, SecretMetadata, SecretVersion, VersionReader
from strongroom.testing.conformance.base import ConformanceBase, needs, needs_second, only_where
from strongroom.testing.conformance.samples import PADDED

__all__ = ["VersionTests"]

_counts_on = only_where(
    lambda kit: (
        "the service counts from the start again when a deleted key is set"
        if kit.reuses_version_ids
        else None
    )
)
_STATES = {"current", "pending", "previous", "disabled", "deleted", "destroyed"}


def _assert_utc(time: datetime | None) -> None:
    assert time is None or time.utcoffset() == timedelta(0)


class VersionTests(ConformanceBase):
    """Descriptions, version histories and conditional writes tell the same story."""

    @needs(Describer)
    def test_describe_names_the_key(self, provider: Any) -> None:
        """A description is of the key as it was asked for."""
        self.put(provider, {"Key/ключ": "value"})
        described = provider.describe_secret("Key/ключ")
        assert isinstance(described, SecretMetadata)
        assert described.key == "Key/ключ"

    @needs(Describer)
    def test_describe_has_a_version(self, provider: Any) -> None:
        """The version is text, and not empty."""
        self.put(provider, {"key": "value"})
        version = provider.describe_secret("key").version
        assert isinstance(version, str)
        assert version

    @needs(Describer)
    def test_describe_tells_times_in_utc(self, provider: Any) -> None:
        """Times are aware and in UTC, and nothing is updated before it was created."""
        self.put(provider, {"key": "one"})
        self.put(provider, {"key": "two"})
        described = provider.describe_secret("key")
        _assert_utc(described.created_at)
        _assert_utc(described.updated_at)
        if described.created_at is not None and described.updated_at is not None:
            assert described.created_at <= described.updated_at

    @needs(Describer)
    def test_describe_follows_writes(self, provider: Any) -> None:
        """Each write changes the version, and the time of the update never goes back."""
        self.put(provider, {"key": "one"})
        first = provider.describe_secret("key")
        self.put(provider, {"key": "two"})
        second = provider.describe_secret("key")
        assert first.version != second.version
        if first.updated_at is not None and second.updated_at is not None:
            assert first.updated_at <= second.updated_at

    @needs(Describer)
    def test_describe_is_stable(self, provider: Any) -> None:
        """Reading changes no version."""
        self.put(provider, {"key": "value"})
        first = provider.describe_secret("key")
        provider.get_secret("key")
        provider.list_secrets()
        assert provider.describe_secret("key").version == first.version

    @needs(Describer)
    def test_describe_has_tags_of_text(self, provider: Any) -> None:
        """Tags are a mapping of text to text."""
        self.put(provider, {"key": "value"})
        tags = provider.describe_secret("key").tags
        assert all(isinstance(name, str) and isinstance(tags[name], str) for name in tags)

    @needs(Describer)
    def test_describe_holds_no_value(self, provider: Any) -> None:
        """A description tells about a secret without its value."""
        self.put(provider, {"key": "hunter2-hunter2"})
        assert "hunter2" not in repr(provider.describe_secret("key"))

    @needs(Describer)
    def test_describing_a_deleted_key(self, provider: Any) -> None:
        """A deleted key is not described."""
        self.put(provider, {"key": "value"})
        self.remove(provider, "key")
        with pytest.raises(SecretNotFoundError):
            provider.describe_secret("key")

    @needs(Describer)
    def test_describing_an_empty_value(self, provider: Any) -> None:
        """A secret with an empty value is described like any other."""
        self.put(provider, {"key": ""})
        assert provider.describe_secret("key").version

    @needs(VersionReader)
    def test_versions_newest_first(self, provider: Any) -> None:
        """The history begins with the newest version."""
        self._write_three(provider)
        versions = provider.list_versions("key")
        assert all(isinstance(version, SecretVersion) for version in versions)
        values = [provider.get_secret_version("key", version.version) for version in versions]
        assert values == ["three", "two", "one"]

    @needs(VersionReader)
    def test_every_version_can_be_read(self, provider: Any) -> None:
        """Each version in the history gives the value that it had."""
        values = ["", "zwei\n", '{"value": "x"}']
        for value in values:
            self.put(provider, {"Key/ключ": value})
        versions = provider.list_versions("Key/ключ")
        read = [provider.get_secret_version("Key/ключ", version.version) for version in versions]
        assert sorted(read) == sorted(values)

    @needs(VersionReader)
    def test_versions_have_states(self, provider: Any) -> None:
        """Exactly the newest version is the current one."""
        self._write_three(provider)
        states = [version.state for version in provider.list_versions("key")]
        assert states[0] == "current"
        assert states.count("current") == 1
        assert set(states) <= _STATES

    @needs(VersionReader)
    def test_versions_have_different_ids(self, provider: Any) -> None:
        """Ids are text, and none is there twice, also for equal values."""
        for _ in range(3):
            self.put(provider, {"key": "same"})
        ids = [version.version for version in provider.list_versions("key")]
        assert all(isinstance(version, str) and version for version in ids)
        assert len(set(ids)) == len(ids)

    @needs(VersionReader)
    def test_versions_have_times_in_utc(self, provider: Any) -> None:
        """Times are aware, in UTC, and fall from the newest to the oldest."""
        self._write_three(provider)
        times = [version.created_at for version in provider.list_versions("key")]
        for time in times:
            _assert_utc(time)
        known = [time for time in times if time is not None]
        assert known == sorted(known, reverse=True)

    @needs(VersionReader)
    def test_unknown_version_is_not_found(self, provider: Any) -> None:
        """A version that the secret never had is not found, whatever its form."""
        self.put(provider, {"key": "value"})
        for version in ("4711", "no-such-version", "0", "-1", "", "1/../2", "versión"):
            with pytest.raises(SecretNotFoundError) as caught:
                provider.get_secret_version("key", version)
            assert caught.value.key == "key"

    @needs(VersionReader)
    def test_a_version_of_another_key_is_no_version_of_this(self, provider: Any) -> None:
        """An id never leads to another secret's value."""
        self.put(provider, {"mine": "my value"})
        self.put(provider, {"other": "other value"})
        foreign = provider.list_versions("other")[0].version
        try:
            read = provider.get_secret_version("mine", foreign)
        except SecretNotFoundError:
            return
        assert read == "my value"

    @needs(VersionReader)
    def test_versions_of_a_deleted_key_are_unreadable(self, provider: Any) -> None:
        """After a delete no version is current, and the one that was cannot be read."""
        self.put(provider, {"key": "value"})
        version = provider.list_versions("key")[0].version
        self.remove(provider, "key")
        with pytest.raises(SecretNotFoundError):
            provider.get_secret_version("key", version)
        try:
            left = provider.list_versions("key")
        except SecretNotFoundError:
            return
        assert not [version for version in left if version.state == "current"]

    @_counts_on
    @needs(VersionReader)
    def test_version_ids_are_not_used_twice(self, provider: Any) -> None:
        """After delete and set again, an id of before means nothing, or what it meant."""
        self.put(provider, {"key": "one"})
        self.put(provider, {"key": "two"})
        before = {version.version for version in provider.list_versions("key")}
        self.remove(provider, "key")
        self.put(provider, {"key": "three"})
        current = [item.version for item in provider.list_versions("key") if item.state == "current"]
        assert len(current) == 1
        assert not before & set(current)

    @needs(VersionReader, Describer)
    def test_describe_and_history_agree(self, provider: Any) -> None:
        """The version that is described is the current one of the history."""
        self._write_three(provider)
        current = [item.version for item in provider.list_versions("key") if item.state == "current"]
        assert current == [provider.describe_secret("key").version]

    @needs_second
    @needs(VersionReader)
    def test_another_provider_reads_versions(self, provider: Any, reopened: Any) -> None:
        """The history belongs to the backend, not to the provider."""
        second = self.second(reopened)
        self._write_three(provider)
        versions = second.list_versions("key")
        assert [second.get_secret_version("key", item.version) for item in versions] == [
            "three",
            "two",
            "one",
        ]

    @needs(ConditionalWriter)
    def test_conditional_write_creates(self, provider: Any) -> None:
        """With None as expectation an absent key is created."""
        version = provider.set_secret_if("key", "value", None)
        self.settle()
        assert isinstance(version, str)
        assert version
        assert provider.get_secret("key") == "value"

    @needs(ConditionalWriter)
    def test_conditional_write_keeps_each_character(self, provider: Any) -> None:
        """A conditional write stores a value as a plain one does, when it creates and when it replaces."""
        version = provider.set_secret_if("key", PADDED, None)
        self.settle()
        assert provider.get_secret("key") == PADDED
        provider.set_secret_if("key", "line\n", version)
        self.settle()
        assert provider.get_secret("key") == "line\n"

    @needs(ConditionalWriter)
    def test_conditional_write_creates_only(self, provider: Any) -> None:
        """With None as expectation a key that is there is a conflict, and stays as it is."""
        self.put(provider, {"key": ""})
        with pytest.raises(ConflictError) as caught:
            provider.set_secret_if("key", "new", None)
        assert caught.value.key == "key"
        assert provider.get_secret("key") == ""

    @needs(ConditionalWriter)
    def test_conditional_write_replaces_what_was_seen(self, provider: Any) -> None:
        """With the version that is there the value is replaced; each write gives the next expectation."""
        version = provider.set_secret_if("key", "one", None)
        second = provider.set_secret_if("key", "two", version)
        third = provider.set_secret_if("key", "three", second)
        self.settle()
        assert len({version, second, third}) == 3
        assert provider.get_secret("key") == "three"

    @needs(ConditionalWriter)
    def test_conditional_write_over_another_version(self, provider: Any) -> None:
        """With a version that is no longer there it is a conflict, and the value stays."""
        version = provider.set_secret_if("key", "one", None)
        self.put(provider, {"key": "somebody else's"})
        with pytest.raises(ConflictError):
            provider.set_secret_if("key", "mine", version)
        assert provider.get_secret("key") == "somebody else's"

    @needs(ConditionalWriter)
    def test_conditional_write_over_an_unknown_version(self, provider: Any) -> None:
        """A version that never was is a conflict, whatever its form."""
        self.put(provider, {"key": "value"})
        for version in ("4711", "no-such-version", "", "-1"):
            with pytest.raises(ConflictError):
                provider.set_secret_if("key", "new", version)
        assert provider.get_secret("key") == "value"

    @needs(ConditionalWriter)
    def test_conditional_write_over_what_is_not_there(self, provider: Any) -> None:
        """Expecting a version of an absent key is a conflict, and creates nothing."""
        with pytest.raises(ConflictError):
            provider.set_secret_if("key", "value", "1")
        assert provider.list_secrets() == []

    @needs(ConditionalWriter)
    def test_conditional_write_after_a_delete(self, provider: Any) -> None:
        """A deleted key must not exist: the version of before is a conflict, None creates it."""
        version = provider.set_secret_if("key", "old", None)
        self.settle()
        self.remove(provider, "key")
        with pytest.raises(ConflictError):
            provider.set_secret_if("key", "new", version)
        provider.set_secret_if("key", "new", None)
        self.settle()
        assert provider.get_secret("key") == "new"

    @_counts_on
    @needs(ConditionalWriter)
    def test_conditional_write_does_not_mistake_a_reborn_key(self, provider: Any) -> None:
        """Who saw the key before it was deleted and set again gets a conflict."""
        version = provider.set_secret_if("key", "old", None)
        self.settle()
        self.remove(provider, "key")
        self.put(provider, {"key": "reborn"})
        with pytest.raises(ConflictError):
            provider.set_secret_if("key", "mine", version)
        assert provider.get_secret("key") == "reborn"

    @needs(ConditionalWriter, Describer)
    def test_conditional_write_expects_the_described_version(self, provider: Any) -> None:
        """The version of a description is the one to expect, and the returned one is described next."""
        self.put(provider, {"key": "one"})
        version = provider.set_secret_if("key", "two", provider.describe_secret("key").version)
        self.settle()
        assert provider.describe_secret("key").version == version

    @needs(ConditionalWriter)
    def test_conditional_write_refuses_bad_values(self, provider: Any) -> None:
        """Bad values are refused as `set_secret` refuses them, and the old one stays."""
        version = provider.set_secret_if("key", "old", None)
        with pytest.raises(TypeError):
            provider.set_secret_if("key", b"bytes", version)
        with pytest.raises(ValidationError):
            provider.set_secret_if("key", "\ud800", version)
        if self.max_value_bytes is not None:
            with pytest.raises(SecretTooLargeError):
                provider.set_secret_if("key", "x" * (self.max_value_bytes + 1), version)
        self.settle()
        assert provider.get_secret("key") == "old"
        provider.set_secret_if("key", "new", version)

    def _write_three(self, provider: Any) -> None:
        for value in ("one", "two", "three"):
            self.put(provider, {"key": value})
