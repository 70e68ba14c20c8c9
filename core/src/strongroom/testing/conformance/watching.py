"""The kit's tests of providers that report changes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final

from strongroom.providers import (
    BatchDescriber,
    BatchWriter,
    ConditionalWriter,
    Describer,
    SecretChange,
    StagedWriter,
    Watchable,
)
from strongroom.testing.conformance.base import ConformanceBase, needs, needs_second
from strongroom.testing.conformance.samples import HOSTILE_KEYS

__all__ = ["WatchingTests"]

_PATIENCE_SECONDS: Final = 20.0


class Listener:
    """What a subscription reported, with a way to wait for more."""

    def __init__(self) -> None:
        self.batches: list[list[SecretChange]] = []
        self._more = threading.Condition()

    def __call__(self, changes: list[SecretChange]) -> None:
        with self._more:
            self.batches.append(changes)
            self._more.notify_all()

    @property
    def heard(self) -> list[tuple[str, str]]:
        return [(one.key, one.kind) for batch in self.batches for one in batch]

    def until(self, last: Callable[[SecretChange], bool]) -> list[SecretChange]:
        """Return all that was reported, as soon as something is among it that `last` is true of."""
        with self._more:
            assert self._more.wait_for(
                lambda: any(last(one) for batch in self.batches for one in batch), _PATIENCE_SECONDS
            ), f"it was not reported within {_PATIENCE_SECONDS:g} seconds; heard was {self.heard}"
            return [one for batch in self.batches for one in batch]


@contextmanager
def _listening(provider: Any) -> Iterator[Listener]:
    listener = Listener()
    subscription = provider.subscribe_changes(listener)
    try:
        yield listener
    finally:
        subscription.close()


class WatchingTests(ConformanceBase):
    """Changes are reported as they happen, by any program; descriptions come in batches."""

    @needs(Watchable, Describer)
    def test_a_write_is_told_with_its_version(self, provider: Any) -> None:
        """Creating and replacing is reported as `set`, with the version that a description shows, in UTC."""
        with _listening(provider) as listener:
            self.put(provider, {"key": "one"})
            first = provider.describe_secret("key").version
            listener.until(lambda one: one.version == first)
            self.put(provider, {"key": "two"})
            second = provider.describe_secret("key").version
            changes = listener.until(lambda one: one.version == second)
        assert [(one.key, one.kind, one.version) for one in changes] == [
            ("key", "set", first),
            ("key", "set", second),
        ]
        assert all(one.observed_at.utcoffset() == timedelta(0) for one in changes)

    @needs(Watchable)
    def test_what_was_before_is_not_told(self, provider: Any) -> None:
        """A subscription begins with what changes after it."""
        self.put(provider, {"before": "1"})
        with _listening(provider) as listener:
            self.put(provider, {"after": "1"})
            changes = listener.until(lambda one: one.key == "after")
        assert [one.key for one in changes] == ["after"]

    @needs(Watchable)
    def test_a_delete_is_told(self, provider: Any) -> None:
        """As `deleted`, and the next set as `set` again."""
        self.put(provider, {"key": "1"})
        with _listening(provider) as listener:
            self.remove(provider, "key")
            listener.until(lambda one: one.kind == "deleted")
            self.put(provider, {"key": "2"})
            listener.until(lambda one: one.kind == "set")
        assert listener.heard == [("key", "deleted"), ("key", "set")]

    @needs(Watchable, BatchWriter)
    def test_a_transaction_is_told_at_once(self, provider: Any) -> None:
        """What was written together comes in one list."""
        values = {f"key/{number}": str(number) for number in range(5)}
        with _listening(provider) as listener:
            provider.set_secrets(values)
            self.settle()
            listener.until(lambda one: one.key == "key/4")
            batches = [batch for batch in listener.batches if batch]
        assert [sorted(one.key for one in batch) for batch in batches] == [sorted(values)]

    @needs(Watchable, ConditionalWriter)
    def test_a_conditional_write_is_told(self, provider: Any) -> None:
        """With the version that it returned; one that conflicts is not a change."""
        with _listening(provider) as listener:
            version = provider.set_secret_if("key", "1", None)
            changes = listener.until(lambda one: one.version == version)
        assert [(one.key, one.kind) for one in changes] == [("key", "set")]

    @needs(Watchable, StagedWriter, Describer)
    def test_a_staged_version_is_told_as_it_is_promoted(self, provider: Any) -> None:
        """Not before, for readers do not get it."""
        self.put(provider, {"key": "1"})
        current = provider.describe_secret("key").version
        with _listening(provider) as listener:
            staged = provider.stage_secret("key", "2")
            self.put(provider, {"other": "1"})
            listener.until(lambda one: one.key == "other")
            provider.promote_version("key", staged, expected_version=current)
            self.settle()
            version = provider.describe_secret("key").version
            listener.until(lambda one: one.key == "key" and one.version == version)
        assert listener.heard == [("other", "set"), ("key", "set")]

    @needs(Watchable)
    def test_names_that_rotation_keeps_are_not_told(self, provider: Any) -> None:
        """As they are not listed."""
        with _listening(provider) as listener:
            self.put(provider, {"key/.rotation/record": "1", "key": "1"})
            listener.until(lambda one: one.key == "key")
            self.remove(provider, "key/.rotation/record")
            self.put(provider, {"last": "1"})
            listener.until(lambda one: one.key == "last")
        assert listener.heard == [("key", "set"), ("last", "set")]

    @needs(Watchable)
    def test_keys_are_told_as_they_were_set(self, provider: Any) -> None:
        """Not by the backend's names."""
        longest = self.max_key_characters
        keys = self.run_of([key for key in HOSTILE_KEYS.values() if len(key) <= longest])
        with _listening(provider) as listener:
            self.put(provider, dict.fromkeys([*keys, "last"], "1"))
            changes = listener.until(lambda one: one.key == "last")
        assert {one.key for one in changes} == {*keys, "last"}

    @needs(Watchable)
    def test_after_close_nothing_is_told(self, provider: Any) -> None:
        """A second close is harmless, and another subscription goes on."""
        ended = Listener()
        with _listening(provider) as listener:
            subscription = provider.subscribe_changes(ended)
            subscription.close()
            subscription.close()
            self.put(provider, {"key": "1"})
            listener.until(lambda one: one.key == "key")
        assert ended.batches == []

    @needs(Watchable)
    def test_a_callback_that_raises_keeps_nobody_else_from_being_told(self, provider: Any) -> None:
        """Nor does it make the write fail."""

        def fail(_: list[SecretChange]) -> None:
            raise ValueError("of the callback")

        subscription = provider.subscribe_changes(fail)
        try:
            with _listening(provider) as listener:
                self.put(provider, {"key": "1"})
                listener.until(lambda one: one.key == "key")
                self.put(provider, {"other": "1"})
                listener.until(lambda one: one.key == "other")
        finally:
            subscription.close()

    @needs(Watchable)
    def test_a_callback_may_read(self, provider: Any) -> None:
        """It gets the new value."""
        read: list[str] = []
        listener = Listener()

        def look(changes: list[SecretChange]) -> None:
            read.extend(provider.get_secret(one.key) for one in changes)
            listener(changes)

        subscription = provider.subscribe_changes(look)
        try:
            self.put(provider, {"key": "new"})
            listener.until(lambda one: one.key == "key")
        finally:
            subscription.close()
        assert read == ["new"]

    @needs_second
    @needs(Watchable, Describer)
    def test_what_others_write_is_told(self, provider: Any, reopened: Any) -> None:
        """With its version, and deletions too."""
        second = self.second(reopened)
        self.put(provider, {"key": "1"})
        with _listening(provider) as listener:
            self.put(second, {"key": "2"})
            version = provider.describe_secret("key").version
            listener.until(lambda one: one.version == version)
            self.remove(second, "key")
            listener.until(lambda one: one.kind == "deleted")
        assert listener.heard == [("key", "set"), ("key", "deleted")]

    @needs(BatchDescriber, Describer)
    def test_a_batch_of_descriptions_says_what_single_ones_say(self, provider: Any) -> None:
        """Each under the key that was asked for."""
        longest = self.max_key_characters
        keys = self.run_of([key for key in HOSTILE_KEYS.values() if len(key) <= longest])
        keys += ["app/a", "app/b"]
        self.put(provider, dict.fromkeys(keys, "1"))
        described = provider.describe_secrets(keys)
        assert {key: metadata.version for key, metadata in described.items()} == {
            key: provider.describe_secret(key).version for key in keys
        }
        assert all(metadata.key == key for key, metadata in described.items())

    @needs(BatchDescriber)
    def test_a_batch_of_descriptions_leaves_out_what_readers_do_not_find(self, provider: Any) -> None:
        """Absent and deleted alike; of nothing it is empty."""
        self.put(provider, {"a": "1", "gone": "1"})
        self.remove(provider, "gone")
        assert list(provider.describe_secrets(iter(["a", "gone", "never/was", "a"]))) == ["a"]
        assert provider.describe_secrets([]) == {}

    @needs(BatchDescriber)
    def test_a_batch_of_descriptions_longer_than_a_page(self, provider: Any) -> None:
        """And it follows writes."""
        keys = [f"key/{number:03}" for number in range(self.listed_keys)]
        self.put(provider, dict.fromkeys(keys, "1"))
        before = provider.describe_secrets(keys)
        assert list(before) == keys
        self.put(provider, {keys[7]: "2"})
        after = provider.describe_secrets(keys)
        assert [key for key in keys if before[key].version != after[key].version] == [keys[7]]
