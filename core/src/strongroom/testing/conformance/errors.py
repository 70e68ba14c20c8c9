"""The kit's tests of errors."""

from __future__ import annotations

import contextlib
import logging
from typing import Any

import pytest

from strongroom.errors import (
    InvalidKeyError,
    SecretNotFoundError,
    SecretTooLargeError,
    StrongroomError,
    UnsupportedOperationError,
    ValidationError,
)
from strongroom.providers import (
    BatchReader,
    BatchWriter,
    ConditionalWriter,
    Describer,
    StagedWriter,
    VersionReader,
)
from strongroom.testing.conformance.base import (
    OTHER,
    SECRET,
    ConformanceBase,
    assert_harmless,
    needs,
    needs_limit,
)

__all__ = ["ErrorTests"]


class ErrorTests(ConformanceBase):
    """Errors are of the right class, say what they are about, and never hold a value."""

    def test_get_of_an_absent_key(self, provider: Any) -> None:
        """Reading what is not there raises `SecretNotFoundError`."""
        with pytest.raises(SecretNotFoundError):
            provider.get_secret("absent")

    def test_delete_of_an_absent_key(self, provider: Any) -> None:
        """Deleting what is not there raises `SecretNotFoundError`."""
        with pytest.raises(SecretNotFoundError):
            provider.delete_secret("absent")

    def test_deleting_twice(self, provider: Any) -> None:
        """The second delete finds nothing."""
        self.put(provider, {"key": "value"})
        self.remove(provider, "key")
        with pytest.raises(SecretNotFoundError):
            provider.delete_secret("key")

    def test_not_found_is_a_key_error(self, provider: Any) -> None:
        """Code that uses providers like mappings catches `KeyError`, whose argument is the key."""
        with pytest.raises(KeyError) as caught:
            provider.get_secret("absent/key")
        assert caught.value.args[0] == "absent/key"

    def test_not_found_names_the_key(self, provider: Any) -> None:
        """`key` is the key that was asked for, also one that the backend names otherwise."""
        for key in ("absent", "Absent/ключ x"):
            with pytest.raises(SecretNotFoundError) as caught:
                provider.get_secret(key)
            assert caught.value.key == key

    def test_not_found_by_delete_names_the_key(self, provider: Any) -> None:
        """So it is for a delete."""
        with pytest.raises(SecretNotFoundError) as caught:
            provider.delete_secret("Absent/ключ x")
        assert caught.value.key == "Absent/ключ x"

    def test_not_found_names_the_provider(self, provider: Any) -> None:
        """`provider` is the type name of the provider that did not find it."""
        with pytest.raises(SecretNotFoundError) as caught:
            provider.get_secret("absent")
        assert isinstance(caught.value.provider, str)
        assert caught.value.provider

    def test_not_found_says_absent(self, provider: Any) -> None:
        """What was never there is `absent`."""
        with pytest.raises(SecretNotFoundError) as caught:
            provider.get_secret("absent")
        assert caught.value.reason == "absent"

    def test_not_found_after_a_delete_has_a_reason(self, provider: Any) -> None:
        """What was deleted is `absent`, `deleted` or `destroyed`, as the backend tells it."""
        self.put(provider, {"key": "value"})
        self.remove(provider, "key")
        with pytest.raises(SecretNotFoundError) as caught:
            provider.get_secret("key")
        assert caught.value.reason in {"absent", "deleted", "destroyed"}

    def test_not_found_is_not_retryable(self, provider: Any) -> None:
        """Asking again would not help."""
        with pytest.raises(SecretNotFoundError) as caught:
            provider.get_secret("absent")
        assert caught.value.retryable is False

    def test_not_found_says_so_in_one_line(self, provider: Any) -> None:
        """The message is a line of text that names the key."""
        with pytest.raises(SecretNotFoundError) as caught:
            provider.get_secret("absent/key")
        assert "absent/key" in str(caught.value)
        assert "\n" not in str(caught.value)

    @needs(Describer)
    def test_describing_an_absent_key(self, provider: Any) -> None:
        """Describing what is not there raises `SecretNotFoundError`."""
        with pytest.raises(SecretNotFoundError) as caught:
            provider.describe_secret("absent")
        assert caught.value.key == "absent"

    @needs(VersionReader)
    def test_versions_of_an_absent_key(self, provider: Any) -> None:
        """What was never there has no versions: `SecretNotFoundError`, no empty list."""
        with pytest.raises(SecretNotFoundError) as caught:
            provider.list_versions("absent")
        assert caught.value.key == "absent"

    @needs(VersionReader)
    def test_a_version_of_an_absent_key(self, provider: Any) -> None:
        """Nor does it have any one version."""
        with pytest.raises(SecretNotFoundError) as caught:
            provider.get_secret_version("absent", "1")
        assert caught.value.key == "absent"

    @needs(StagedWriter)
    def test_promoting_and_discarding_of_an_absent_key(self, provider: Any) -> None:
        """There is nothing to promote or to discard of a key that was never there."""
        with pytest.raises(SecretNotFoundError) as caught:
            provider.promote_version("absent", "1", expected_version=None)
        assert caught.value.key == "absent"
        with pytest.raises(SecretNotFoundError) as caught:
            provider.discard_version("absent", "1")
        assert caught.value.key == "absent"

    def test_no_value_in_an_invalid_key_error(self, provider: Any) -> None:
        """A value that came with an invalid key is in no text of the error."""
        with pytest.raises(InvalidKeyError) as caught:
            provider.set_secret("a//b", SECRET)
        assert_harmless(caught.value, SECRET)

    def test_no_value_in_a_not_found_error(self, provider: Any) -> None:
        """A value that was there before is in no text of the error."""
        self.put(provider, {"key": SECRET})
        self.remove(provider, "key")
        with pytest.raises(SecretNotFoundError) as caught:
            provider.get_secret("key")
        assert_harmless(caught.value, SECRET)

    def test_no_value_in_a_surrogate_error(self, provider: Any) -> None:
        """What cannot be encoded is in no text of the error, nor of what caused it."""
        self.put(provider, {"key": OTHER})
        with pytest.raises(ValidationError) as caught:
            provider.set_secret("key", f"{SECRET}\ud800")
        assert_harmless(caught.value, SECRET, OTHER)

    def test_no_value_in_a_type_error(self, provider: Any) -> None:
        """A value of the wrong type is in no text of the error."""
        self.put(provider, {"key": OTHER})
        for value in (SECRET.encode(), [SECRET], {"value": SECRET}):
            with pytest.raises(TypeError) as caught:
                provider.set_secret("key", value)
            assert_harmless(caught.value, SECRET, OTHER)

    @needs_limit
    def test_no_value_in_a_too_large_error(self, provider: Any) -> None:
        """A value that is too large is in no text of the error."""
        assert self.max_value_bytes is not None
        self.put(provider, {"key": OTHER})
        with pytest.raises(SecretTooLargeError) as caught:
            provider.set_secret("key", SECRET * (self.max_value_bytes // len(SECRET) + 1))
        assert_harmless(caught.value, SECRET, OTHER)

    def test_no_value_in_an_error_for_what_cannot_be_held(self, provider: Any) -> None:
        """A value that cannot be represented is in no text of the error."""
        for text in self.not_representable:
            with pytest.raises(ValidationError) as caught:
                provider.set_secret("key", f"{SECRET}{text}{SECRET}")
            assert_harmless(caught.value, SECRET)

    @needs(BatchWriter)
    def test_no_value_in_an_error_of_a_batch(self, provider: Any) -> None:
        """Neither the bad value of a batch nor the good ones are in any text of the error."""
        with pytest.raises(ValidationError) as caught:
            provider.set_secrets({"good": OTHER, "bad": f"{SECRET}\ud800"})
        assert_harmless(caught.value, SECRET, OTHER)

    @needs(ConditionalWriter)
    def test_no_value_in_a_conflict(self, provider: Any) -> None:
        """Neither the value that is there nor the one that was refused is in any text of the error."""
        self.put(provider, {"key": OTHER})
        with pytest.raises(StrongroomError) as caught:
            provider.set_secret_if("key", SECRET, None)
        assert_harmless(caught.value, SECRET, OTHER)

    @needs(VersionReader)
    def test_no_value_in_an_unknown_version_error(self, provider: Any) -> None:
        """Asking for a version that is not there tells none of those that are."""
        self.put(provider, {"key": OTHER})
        self.put(provider, {"key": SECRET})
        with pytest.raises(SecretNotFoundError) as caught:
            provider.get_secret_version("key", "4711")
        assert_harmless(caught.value, SECRET, OTHER)

    @needs(StagedWriter)
    def test_no_value_in_a_conflict_of_staging(self, provider: Any) -> None:
        """Neither the current nor the pending value is in any text of the error."""
        self.put(provider, {"key": OTHER})
        version = provider.stage_secret("key", SECRET)
        with pytest.raises(StrongroomError) as caught:
            provider.promote_version("key", version, expected_version=None)
        assert_harmless(caught.value, SECRET, OTHER)

    def test_no_value_in_logs_warnings_or_output(
        self,
        provider: Any,
        caplog: pytest.LogCaptureFixture,
        capfd: pytest.CaptureFixture[str],
        recwarn: pytest.WarningsRecorder,
    ) -> None:
        """Nor does what succeeds tell a value, except in what `sdk_modules` and `sdk_loggers` log."""
        caplog.set_level(logging.DEBUG)
        self.put(provider, {"key": OTHER})
        self.put(provider, {"key": SECRET})
        assert provider.get_secret("key") == SECRET
        provider.list_secrets()
        with contextlib.suppress(UnsupportedOperationError):  # the server behind it may not offer them
            if isinstance(provider, BatchReader):
                provider.get_secrets(["key", "absent"])
            if isinstance(provider, BatchWriter):
                provider.set_secrets({"key": OTHER, "other": SECRET})
                self.settle()
        self.remove(provider, "key")
        others = {*self.sdk_modules, *self.sdk_loggers}
        own = (one for one in caplog.records if one.name.partition(".")[0] not in others)
        printed = capfd.readouterr()
        texts = [*(one.getMessage() for one in own), *(str(one.message) for one in recwarn), *printed]
        for value in (SECRET, OTHER):
            assert not any(value in text for text in texts), "a log, a warning or the output holds a value"
