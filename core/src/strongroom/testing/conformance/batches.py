"""The kit's tests of batches."""

from __future__ import annotations

from typing import Any

import pytest

from strongroom.errors import SecretNotFoundError, SecretTooLargeError, ValidationError
from strongroom.providers import BatchReader, BatchWriter
from strongroom.testing.conformance.base import ConformanceBase, needs, needs_limit
from strongroom.testing.conformance.samples import HOSTILE_KEYS, PADDED

__all__ = ["BatchTests"]


class BatchTests(ConformanceBase):
    """Batches do what single calls do, only together."""

    @needs(BatchReader)
    def test_batch_reads_values(self, provider: Any) -> None:
        """A batch gives the value of each key that was asked for, and no other."""
        self.put(provider, {"a": "1", "b/c": "2", "d": "3"})
        assert provider.get_secrets(["a", "b/c"]) == {"a": "1", "b/c": "2"}

    @needs(BatchReader)
    def test_batch_leaves_absent_keys_out(self, provider: Any) -> None:
        """Absent keys are absent from the result, neither errors nor None."""
        self.put(provider, {"a": "1"})
        assert provider.get_secrets(["a", "absent", "b/absent"]) == {"a": "1"}
        assert provider.get_secrets(["absent"]) == {}

    @needs(BatchReader)
    def test_batch_tells_deleted_keys_as_a_get_does(self, provider: Any) -> None:
        """So are deleted ones, unless a `get` gives another reason than `absent`: a batch raises that too."""
        self.put(provider, {"a": "1", "b": "2"})
        self.remove(provider, "b")
        with pytest.raises(SecretNotFoundError) as alone:
            provider.get_secret("b")
        if alone.value.reason == "absent":
            assert provider.get_secrets(["a", "b"]) == {"a": "1"}
            return
        with pytest.raises(SecretNotFoundError) as together:
            provider.get_secrets(["a", "b"])
        assert (together.value.key, together.value.reason) == ("b", alone.value.reason)

    @needs(BatchReader)
    def test_batch_reads_empty_values(self, provider: Any) -> None:
        """An empty value is in the result."""
        self.put(provider, {"empty": "", "full": "1"})
        assert provider.get_secrets(["empty", "full"]) == {"empty": "", "full": "1"}

    @needs(BatchReader)
    def test_batch_reads_each_character(self, provider: Any) -> None:
        """A batch gives values as a single read does: nothing is trimmed or filled in."""
        self.put(provider, {"a": PADDED, "b": "line\n"})
        assert provider.get_secrets(["a", "b"]) == {"a": PADDED, "b": "line\n"}

    @needs(BatchReader)
    def test_a_batchs_answer_is_the_callers(self, provider: Any) -> None:
        """A caller who changes the answer changes nothing that is stored."""
        self.put(provider, {"a": "1", "b": "2"})
        provider.get_secrets(["a", "b"]).clear()
        assert provider.get_secrets(["a", "b"]) == {"a": "1", "b": "2"}

    @needs(BatchReader)
    def test_batch_of_nothing(self, provider: Any) -> None:
        """No keys give no values."""
        self.put(provider, {"a": "1"})
        assert provider.get_secrets([]) == {}

    @needs(BatchReader)
    def test_batch_with_the_same_key_twice(self, provider: Any) -> None:
        """A key that is asked for twice is in the result."""
        self.put(provider, {"a": "1", "b": "2"})
        assert provider.get_secrets(["a", "b", "a", "a"]) == {"a": "1", "b": "2"}

    @needs(BatchReader)
    def test_batch_of_an_iterator(self, provider: Any) -> None:
        """Keys may come from anything that can be gone through once."""
        self.put(provider, {"a": "1", "b": "2"})
        assert provider.get_secrets(iter(("a", "b"))) == {"a": "1", "b": "2"}
        assert provider.get_secrets({"b"}) == {"b": "2"}

    @needs(BatchReader)
    def test_batch_in_any_order(self, provider: Any) -> None:
        """The order of asking does not mix up the values."""
        values = {f"key/{number}": f"value {number}" for number in range(9)}
        self.put(provider, values)
        assert provider.get_secrets(reversed(list(values))) == values

    @needs(BatchReader)
    def test_batch_longer_than_a_page(self, provider: Any) -> None:
        """A batch may have more keys than one request of the service takes."""
        values = {f"key/{number}": f"value {number}" for number in range(45)}
        self.put(provider, values)
        assert provider.get_secrets([*values, "absent"]) == values

    @needs(BatchReader)
    def test_batch_of_hostile_keys(self, provider: Any) -> None:
        """The keys of the result are those that were asked for, not the backend's names."""
        longest = self.max_key_characters
        tried = self.run_of([key for key in HOSTILE_KEYS.values() if len(key) <= longest])
        values = {key: f"value {number}" for number, key in enumerate(tried)}
        self.put(provider, values)
        assert provider.get_secrets(values) == values

    @needs(BatchReader)
    def test_batch_reads_the_newest_values(self, provider: Any) -> None:
        """A batch reads what was written last."""
        self.put(provider, {"a": "old"})
        assert provider.get_secrets(["a"]) == {"a": "old"}
        self.put(provider, {"a": "new"})
        assert provider.get_secrets(["a"]) == {"a": "new"}

    @needs(BatchWriter)
    def test_batch_writes_values(self, provider: Any) -> None:
        """A batch creates and replaces."""
        self.put(provider, {"a": "old"})
        values = {"a": "new", "b/c": "", "ключ": "wert\n"}
        assert provider.set_secrets(values) is None
        self.settle()
        assert {key: provider.get_secret(key) for key in values} == values
        assert provider.list_secrets() == sorted(values)

    @needs(BatchWriter)
    def test_batch_writes_more_than_a_page(self, provider: Any) -> None:
        """A batch may have more keys than one request of the service takes; all are written, or none."""
        values = {f"key/{number:02}": f"value {number}" for number in range(45)}
        try:
            provider.set_secrets(values)
        except SecretTooLargeError:  # of a service that writes a batch in one transaction
            values = {}
        self.settle()
        assert provider.list_secrets() == list(values)
        assert {key: provider.get_secret(key) for key in values} == values

    @needs(BatchWriter)
    def test_batch_writes_each_character(self, provider: Any) -> None:
        """A batch stores values as a single write does."""
        provider.set_secrets({"a": PADDED, "b": "line\n"})
        self.settle()
        assert [provider.get_secret("a"), provider.get_secret("b")] == [PADDED, "line\n"]

    @needs(BatchWriter)
    def test_batch_write_of_nothing(self, provider: Any) -> None:
        """A batch of nothing changes nothing."""
        provider.set_secrets({})
        assert provider.list_secrets() == []

    @needs(BatchWriter)
    def test_batch_write_leaves_the_callers_mapping(self, provider: Any) -> None:
        """The mapping that was given stays as it is."""
        values = {"a": "1", "b": "2"}
        provider.set_secrets(values)
        assert values == {"a": "1", "b": "2"}

    @needs(BatchWriter)
    @pytest.mark.parametrize("bad", [None, b"bytes", 42], ids=["None", "bytes", "int"])
    def test_batch_with_no_text_writes_nothing(self, provider: Any, bad: object) -> None:
        """One value that is not text is a `TypeError`, and none of the batch is written."""
        self.put(provider, {"a": "old"})
        with pytest.raises(TypeError):
            provider.set_secrets({"a": "new", "b": "new", "z": bad})
        self._unchanged(provider)

    @needs(BatchWriter)
    def test_batch_with_a_lone_surrogate_writes_nothing(self, provider: Any) -> None:
        """One value that is not Unicode text keeps all of the batch from being written."""
        self.put(provider, {"a": "old"})
        with pytest.raises(ValidationError):
            provider.set_secrets({"a": "new", "b": "new", "z": "\ud800"})
        self._unchanged(provider)

    @needs_limit
    @needs(BatchWriter)
    def test_batch_with_too_large_a_value_writes_nothing(self, provider: Any) -> None:
        """One value beyond the limit keeps all of the batch from being written."""
        assert self.max_value_bytes is not None
        self.put(provider, {"a": "old"})
        with pytest.raises(SecretTooLargeError):
            provider.set_secrets({"a": "new", "b": "new", "z": "x" * (self.max_value_bytes + 1)})
        self._unchanged(provider)

    def _unchanged(self, provider: Any) -> None:
        assert provider.get_secret("a") == "old"
        assert provider.list_secrets() == ["a"]
