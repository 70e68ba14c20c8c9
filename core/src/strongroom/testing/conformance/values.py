"""The kit's tests of values."""

from __future__ import annotations

from typing import Any

import pytest

from strongroom.errors import SecretNotFoundError, SecretTooLargeError, ValidationError
from strongroom.testing.conformance.base import ConformanceBase, needs_limit, needs_second, only_where
from strongroom.testing.conformance.samples import HOSTILE_VALUES, NO_TEXTS

__all__ = ["ValueTests"]

_no_text = pytest.mark.parametrize(
    "value", [pytest.param(value, id=name) for name, value in NO_TEXTS.items()]
)


class ValueTests(ConformanceBase):
    """What is written is read back, character by character, or refused with the old value kept."""

    def test_set_creates(self, provider: Any) -> None:
        """A value that was set is read back."""
        self.put(provider, {"key": "value"})
        assert provider.get_secret("key") == "value"

    def test_set_replaces(self, provider: Any) -> None:
        """A second value replaces the first."""
        self.put(provider, {"key": "first"})
        self.put(provider, {"key": "second"})
        assert provider.get_secret("key") == "second"

    def test_setting_the_same_value_again_is_no_error(self, provider: Any) -> None:
        """Writing what is there already succeeds."""
        self.put(provider, {"key": "same"})
        self.put(provider, {"key": "same"})
        assert provider.get_secret("key") == "same"

    def test_writers_return_nothing(self, provider: Any) -> None:
        """Set and delete return None."""
        assert provider.set_secret("key", "value") is None
        self.settle()
        assert provider.delete_secret("key") is None

    def test_a_value_is_plain_text(self, provider: Any) -> None:
        """A value comes back as `str`, even if it looks like a number."""
        self.put(provider, {"key": "0123"})
        assert type(provider.get_secret("key")) is str

    def test_delete_then_get(self, provider: Any) -> None:
        """A deleted key is not found."""
        self.put(provider, {"key": "value"})
        self.remove(provider, "key")
        with pytest.raises(SecretNotFoundError):
            provider.get_secret("key")

    def test_delete_then_set_again(self, provider: Any) -> None:
        """A deleted key can be set again, and then holds the new value."""
        self.put(provider, {"key": "old"})
        self.remove(provider, "key")
        self.put(provider, {"key": "new"})
        assert provider.get_secret("key") == "new"
        assert provider.list_secrets() == ["key"]

    def test_delete_and_set_again_many_times(self, provider: Any) -> None:
        """A key survives being deleted and set over and over."""
        for turn in range(3):
            self.put(provider, {"key": f"value {turn}"})
            assert provider.get_secret("key") == f"value {turn}"
            self.remove(provider, "key")
        assert provider.list_secrets() == []

    def test_delete_leaves_the_others(self, provider: Any) -> None:
        """Deleting one key leaves its neighbours, also those below it and beside it."""
        self.put(provider, {"a": "1", "a/b": "2", "ab": "3"})
        self.remove(provider, "a")
        assert provider.list_secrets() == ["a/b", "ab"]
        assert [provider.get_secret("a/b"), provider.get_secret("ab")] == ["2", "3"]

    def test_empty_is_not_absent(self, provider: Any) -> None:
        """An empty value is a value: read, listed and deleted like any other."""
        self.put(provider, {"empty": ""})
        assert provider.get_secret("empty") == ""
        assert provider.list_secrets() == ["empty"]
        self.remove(provider, "empty")
        with pytest.raises(SecretNotFoundError):
            provider.get_secret("empty")

    def test_empty_replaces_and_is_replaced(self, provider: Any) -> None:
        """A value can become empty and full again."""
        self.put(provider, {"key": "full"})
        self.put(provider, {"key": ""})
        assert provider.get_secret("key") == ""
        self.put(provider, {"key": "again"})
        assert provider.get_secret("key") == "again"

    @pytest.mark.parametrize(
        "value", [pytest.param(value, id=name) for name, value in HOSTILE_VALUES.items()]
    )
    def test_hostile_value_round_trips(self, provider: Any, value: str) -> None:
        """Any text comes back exactly as it was set, or is refused where the backend cannot hold it."""
        if self.refuses(value):
            with pytest.raises((ValidationError, SecretTooLargeError)):
                provider.set_secret("key", value)
            return
        self.put(provider, {"key": value})
        assert provider.get_secret("key") == value

    @pytest.mark.parametrize(
        "value", [pytest.param(value, id=name) for name, value in HOSTILE_VALUES.items()]
    )
    def test_hostile_value_can_be_replaced(self, provider: Any, value: str) -> None:
        """Neither a stored value nor a refused one blocks the next one."""
        if self.refuses(value):
            with pytest.raises((ValidationError, SecretTooLargeError)):
                provider.set_secret("key", value)
        else:
            self.put(provider, {"key": value})
        self.put(provider, {"key": "plain"})
        assert provider.get_secret("key") == "plain"

    def test_hostile_values_of_this_backend_round_trip(self, provider: Any) -> None:
        """What the author named as special to the backend round-trips too."""
        for value in self.hostile_values:
            self.put(provider, {"key": value})
            assert provider.get_secret("key") == value

    def test_long_value_round_trips(self, provider: Any) -> None:
        """A value as long as the backend takes comes back whole."""
        value = "0123456789abcdef" * (self._longest() // 16 + 1)
        value = value[: self._longest()]
        self.put(provider, {"key": value})
        assert provider.get_secret("key") == value

    def test_long_value_of_wide_characters_round_trips(self, provider: Any) -> None:
        """The limit counts bytes, and up to it wide characters come back whole too."""
        value = "ü" * (self._longest() // 2)
        self.put(provider, {"key": value})
        assert provider.get_secret("key") == value

    @needs_limit
    def test_too_large_a_value_leaves_the_old_one(self, provider: Any) -> None:
        """One byte beyond the limit is refused, and the old value stays."""
        value = "x" * (self._limit() + 1)
        self.put(provider, {"key": "old"})
        with pytest.raises(SecretTooLargeError) as caught:
            provider.set_secret("key", value)
        assert caught.value.key == "key"
        assert provider.get_secret("key") == "old"

    @needs_limit
    def test_too_large_a_value_creates_nothing(self, provider: Any) -> None:
        """A first value that is refused leaves no key behind."""
        with pytest.raises(SecretTooLargeError):
            provider.set_secret("key", "x" * (self._limit() + 1))
        assert provider.list_secrets() == []

    @needs_limit
    def test_too_many_wide_characters_are_too_large(self, provider: Any) -> None:
        """Bytes are counted, not characters."""
        with pytest.raises(SecretTooLargeError):
            provider.set_secret("key", "ü" * (self._limit() // 2 + 1))

    @_no_text
    def test_no_text_is_refused(self, provider: Any, value: object) -> None:
        """A value that is not text is a `TypeError`, and nothing is stored."""
        with pytest.raises(TypeError):
            provider.set_secret("key", value)
        assert provider.list_secrets() == []

    @_no_text
    def test_no_text_leaves_the_old_value(self, provider: Any, value: object) -> None:
        """A value that is not text does not harm the one that is there."""
        self.put(provider, {"key": "old"})
        with pytest.raises(TypeError):
            provider.set_secret("key", value)
        assert provider.get_secret("key") == "old"

    @pytest.mark.parametrize("value", ["\ud800", "text\udfff", "\ud83d \ude00"], ids=ascii)
    def test_lone_surrogate_is_refused(self, provider: Any, value: str) -> None:
        """A lone surrogate is not Unicode text: `ValidationError`, and the old value stays."""
        self.put(provider, {"key": "old"})
        with pytest.raises(ValidationError):
            provider.set_secret("key", value)
        assert provider.get_secret("key") == "old"

    @only_where(lambda kit: None if kit.not_representable else "the backend holds any text")
    def test_what_the_backend_cannot_hold_is_refused(self, provider: Any) -> None:
        """Text that cannot be represented is a `ValidationError`, and the old value stays."""
        self.put(provider, {"key": "old"})
        for text in self.not_representable:
            with pytest.raises(ValidationError):
                provider.set_secret("key", f"before{text}after")
            assert provider.get_secret("key") == "old"

    @needs_second
    def test_another_provider_reads_what_was_written(self, provider: Any, reopened: Any) -> None:
        """A second provider on the same backend reads, lists and replaces the same secrets."""
        second = self.second(reopened)
        self.put(provider, {"key": "wrïtten\n", "empty": ""})
        assert second.get_secret("key") == "wrïtten\n"
        assert second.get_secret("empty") == ""
        assert second.list_secrets() == ["empty", "key"]
        self.put(second, {"key": "replaced"})
        assert provider.get_secret("key") == "replaced"

    @needs_second
    def test_another_provider_sees_a_delete(self, provider: Any, reopened: Any) -> None:
        """What one provider deletes is gone for the other."""
        second = self.second(reopened)
        self.put(provider, {"key": "value"})
        self.remove(second, "key")
        with pytest.raises(SecretNotFoundError):
            provider.get_secret("key")
        assert provider.list_secrets() == []

    def _longest(self) -> int:
        return self.long_value_bytes if self.max_value_bytes is None else self.max_value_bytes

    def _limit(self) -> int:
        assert self.max_value_bytes is not None
        return self.max_value_bytes
