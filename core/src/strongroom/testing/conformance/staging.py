"""The kit's tests of staged versions."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from strongroom.errors import ConflictError, SecretNotFoundError, StrongroomError, ValidationError
from strongroom.providers import Describer, StagedWriter, VersionReader
from strongroom.testing.conformance.base import ConformanceBase, needs, needs_second
from strongroom.testing.conformance.samples import PADDED

__all__ = ["StagingTests"]


class StagingTests(ConformanceBase):
    """A staged version is only for a reader that asks for it, until it is promoted."""

    @needs(StagedWriter)
    def test_staging_leaves_the_readers_their_value(self, provider: Any) -> None:
        """Readers keep the old value while a new one is pending."""
        self.put(provider, {"key": "old"})
        version = provider.stage_secret("key", "new")
        self.settle()
        assert isinstance(version, str)
        assert version
        assert provider.get_secret("key") == "old"

    @needs(StagedWriter, Describer)
    def test_staging_changes_no_description(self, provider: Any) -> None:
        """The described version stays the current one while another is pending."""
        self.put(provider, {"key": "old"})
        before = provider.describe_secret("key").version
        pending = provider.stage_secret("key", "new")
        self.settle()
        assert provider.describe_secret("key").version == before != pending

    @needs(StagedWriter, VersionReader)
    def test_a_staged_version_can_be_read_by_its_id(self, provider: Any) -> None:
        """A caller that knows the id reads the pending value, an empty one too."""
        self.put(provider, {"key": "old"})
        for value in ("new", ""):
            version = provider.stage_secret("key", value)
            self.settle()
            assert provider.get_secret_version("key", version) == value

    @needs(StagedWriter, VersionReader)
    def test_a_staged_version_is_pending(self, provider: Any) -> None:
        """The history has it, in the state `pending`, beside the current one."""
        self.put(provider, {"key": "old"})
        pending = provider.stage_secret("key", "new")
        self.settle()
        states = {version.version: version.state for version in provider.list_versions("key")}
        assert states[pending] == "pending"
        assert list(states.values()).count("current") == 1

    @needs(StagedWriter, Describer)
    def test_promoting_makes_it_current(self, provider: Any) -> None:
        """After the promotion readers get the new value, and its version is described."""
        self.put(provider, {"key": "old"})
        pending, _ = self._stage_and_promote(provider)
        assert provider.get_secret("key") == "new"
        assert provider.describe_secret("key").version == pending

    @needs(StagedWriter, Describer)
    def test_a_staged_value_keeps_each_character(self, provider: Any) -> None:
        """A value that was staged and promoted is the one that was given."""
        self.put(provider, {"key": "old"})
        for value in (PADDED, "line\n"):
            current = provider.describe_secret("key").version
            pending = provider.stage_secret("key", value)
            self.settle()
            provider.promote_version("key", pending, expected_version=current)
            self.settle()
            assert provider.get_secret("key") == value

    @needs(StagedWriter, Describer, VersionReader)
    def test_promoting_keeps_the_old_version(self, provider: Any) -> None:
        """After the promotion the old value stays readable by its id, as a previous version."""
        self.put(provider, {"key": "old"})
        _, before = self._stage_and_promote(provider)
        assert provider.get_secret_version("key", before) == "old"
        states = {version.version: version.state for version in provider.list_versions("key")}
        assert states[before] == "previous"

    @needs(StagedWriter, Describer)
    def test_promoting_over_another_version(self, provider: Any) -> None:
        """Where somebody wrote in between it is a conflict, and readers keep that value."""
        self.put(provider, {"key": "old"})
        before = provider.describe_secret("key").version
        pending = provider.stage_secret("key", "new")
        self.put(provider, {"key": "somebody else's"})
        with pytest.raises(ConflictError) as caught:
            provider.promote_version("key", pending, expected_version=before)
        assert caught.value.key == "key"
        assert provider.get_secret("key") == "somebody else's"

    @needs(StagedWriter)
    def test_promoting_as_the_first_over_an_existing_value(self, provider: Any) -> None:
        """Expecting that nothing is there is a conflict where something is."""
        self.put(provider, {"key": "old"})
        pending = provider.stage_secret("key", "new")
        with pytest.raises(ConflictError):
            provider.promote_version("key", pending, expected_version=None)
        assert provider.get_secret("key") == "old"

    @needs(StagedWriter, Describer)
    def test_promoting_an_unknown_version(self, provider: Any) -> None:
        """A version that was never staged cannot be promoted."""
        self.put(provider, {"key": "old"})
        before = provider.describe_secret("key").version
        with pytest.raises((SecretNotFoundError, ConflictError)):
            provider.promote_version("key", "no-such-version", expected_version=before)
        assert provider.get_secret("key") == "old"

    @needs(StagedWriter, VersionReader)
    def test_discarding_makes_it_unreadable(self, provider: Any) -> None:
        """A discarded version is gone, also by its id, and no longer pending."""
        self.put(provider, {"key": "old"})
        pending = provider.stage_secret("key", "new")
        provider.discard_version("key", pending)
        self.settle()
        with pytest.raises(SecretNotFoundError):
            provider.get_secret_version("key", pending)
        assert "pending" not in {version.state for version in provider.list_versions("key")}
        assert provider.get_secret("key") == "old"

    @needs(StagedWriter, Describer)
    def test_a_discarded_version_cannot_be_promoted(self, provider: Any) -> None:
        """What was discarded does not come back."""
        self.put(provider, {"key": "old"})
        before = provider.describe_secret("key").version
        pending = provider.stage_secret("key", "new")
        provider.discard_version("key", pending)
        with pytest.raises((SecretNotFoundError, ConflictError)):
            provider.promote_version("key", pending, expected_version=before)
        assert provider.get_secret("key") == "old"

    @needs(StagedWriter, Describer)
    def test_the_current_version_is_not_discarded(self, provider: Any) -> None:
        """Discarding is for pending versions: whatever it answers, the current value stays."""
        self.put(provider, {"key": "value"})
        with contextlib.suppress(StrongroomError):
            provider.discard_version("key", provider.describe_secret("key").version)
        assert provider.get_secret("key") == "value"

    @needs(StagedWriter, Describer)
    def test_two_pending_versions(self, provider: Any) -> None:
        """Of two staged versions the promoted one is read; the other cannot overtake it."""
        self.put(provider, {"key": "old"})
        before = provider.describe_secret("key").version
        first = provider.stage_secret("key", "first")
        second = provider.stage_secret("key", "second")
        self.settle()
        assert first != second
        assert provider.get_secret("key") == "old"
        provider.promote_version("key", second, expected_version=before)
        self.settle()
        with pytest.raises((ConflictError, SecretNotFoundError)):
            provider.promote_version("key", first, expected_version=before)
        assert provider.get_secret("key") == "second"

    @needs(StagedWriter)
    def test_staging_a_new_key_does_not_create_it(self, provider: Any) -> None:
        """A key that has pending versions only is neither read nor listed, until one is promoted."""
        pending = provider.stage_secret("key", "value")
        self.settle()
        with pytest.raises(SecretNotFoundError):
            provider.get_secret("key")
        assert provider.list_secrets() == []
        provider.promote_version("key", pending, expected_version=None)
        self.settle()
        assert provider.get_secret("key") == "value"
        assert provider.list_secrets() == ["key"]

    @needs(StagedWriter)
    def test_a_pending_version_does_not_hinder_a_write(self, provider: Any) -> None:
        """An ordinary write goes on while a version is pending."""
        self.put(provider, {"key": "old"})
        provider.stage_secret("key", "pending")
        self.put(provider, {"key": "newer"})
        assert provider.get_secret("key") == "newer"

    @needs(StagedWriter)
    def test_staging_refuses_bad_values(self, provider: Any) -> None:
        """Bad values are refused as `set_secret` refuses them."""
        self.put(provider, {"key": "old"})
        with pytest.raises(TypeError):
            provider.stage_secret("key", b"bytes")
        with pytest.raises(ValidationError):
            provider.stage_secret("key", "\ud800")
        assert provider.get_secret("key") == "old"

    @needs_second
    @needs(StagedWriter, Describer)
    def test_another_provider_promotes(self, provider: Any, reopened: Any) -> None:
        """A version that one provider staged is promoted by another: staging outlives a process."""
        second = self.second(reopened)
        self.put(provider, {"key": "old"})
        pending = provider.stage_secret("key", "new")
        self.settle()
        second.promote_version("key", pending, expected_version=second.describe_secret("key").version)
        self.settle()
        assert provider.get_secret("key") == "new"

    def _stage_and_promote(self, provider: Any) -> tuple[str, str]:
        before = provider.describe_secret("key").version
        pending = provider.stage_secret("key", "new")
        provider.promote_version("key", pending, expected_version=before)
        self.settle()
        return pending, before
