"""The kit's tests of threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from strongroom.errors import ConflictError
from strongroom.providers import BatchReader, ConditionalWriter, Describer, StagedWriter
from strongroom.testing.conformance.base import ConformanceBase, needs

__all__ = ["ThreadTests"]


def at_once(count: int, call: Callable[[int], Any]) -> list[Any]:
    """Call `call(0)` to `call(count - 1)` in as many threads, all starting together."""
    start = threading.Barrier(count, timeout=30)

    def run(number: int) -> Any:
        start.wait()
        return call(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def winners(count: int, call: Callable[[int], Any]) -> list[int]:
    """Return the numbers of those threads whose call met no conflict."""

    def attempt(number: int) -> bool:
        try:
            call(number)
        except ConflictError:
            return False
        return True

    return [number for number, won in enumerate(at_once(count, attempt)) if won]


class ThreadTests(ConformanceBase):
    """One provider serves many threads."""

    def test_another_thread_uses_the_provider(self, provider: Any) -> None:
        """A provider belongs to no thread."""
        self.put(provider, {"key": "value"})
        assert at_once(1, lambda _: provider.get_secret("key")) == ["value"]
        at_once(1, lambda _: provider.set_secret("key", "from a thread"))
        self.settle()
        assert provider.get_secret("key") == "from a thread"

    def test_threads_make_the_first_call_together(self, provider: Any) -> None:
        """What is set up at the first call survives many first calls at once."""
        assert at_once(self.thread_count, lambda _: provider.list_secrets()) == [[]] * self.thread_count

    def test_threads_read_one_key(self, provider: Any) -> None:
        """All threads read the same value."""
        self.put(provider, {"key": "value"})
        read = at_once(self.thread_count, lambda _: [provider.get_secret("key") for _ in range(5)])
        assert read == [["value"] * 5] * self.thread_count

    def test_threads_write_different_keys(self, provider: Any) -> None:
        """No thread's writes are lost or mixed up with another's."""

        def work(number: int) -> list[str]:
            keys = [f"thread/{number}/{turn}" for turn in range(3)]
            for key in keys:
                provider.set_secret(key, f"value of {key}")
            return keys

        keys = [key for made in at_once(self.thread_count, work) for key in made]
        self.settle()
        assert provider.list_secrets() == sorted(keys)
        assert {provider.get_secret(key) for key in keys} == {f"value of {key}" for key in keys}

    def test_threads_write_one_key(self, provider: Any) -> None:
        """After concurrent writes of one key one of the values is there, whole."""
        self.put(provider, {"key": "start"})
        values = [f"{number}" * 500 for number in range(self.thread_count)]
        at_once(self.thread_count, lambda number: provider.set_secret("key", values[number]))
        self.settle()
        assert provider.get_secret("key") in values
        assert provider.list_secrets() == ["key"]

    def test_threads_read_while_one_writes(self, provider: Any) -> None:
        """Readers get an old or a new value, never half a one, and no error."""
        values = [f"{number}" * 500 for number in range(4)]
        self.put(provider, {"key": values[0]})

        def work(number: int) -> Iterable[str]:
            if number == 0:
                for value in values:
                    provider.set_secret("key", value)
                return []
            return [provider.get_secret("key") for _ in range(5)]

        read = {value for found in at_once(self.thread_count, work) for value in found}
        assert read <= set(values)

    def test_threads_list_while_others_write(self, provider: Any) -> None:
        """A list during writes has what was there all along."""
        self.put(provider, {"fixed/a": "1", "fixed/b": "2"})

        def work(number: int) -> list[str]:
            if number % 2:
                provider.set_secret(f"moving/{number}", "value")
                return ["fixed/a", "fixed/b"]
            return [key for key in provider.list_secrets() if key.startswith("fixed/")]

        assert at_once(self.thread_count, work) == [["fixed/a", "fixed/b"]] * self.thread_count

    @needs(BatchReader)
    def test_threads_read_batches(self, provider: Any) -> None:
        """Batches of many threads do not mix."""
        values = {f"key/{number}": f"value {number}" for number in range(self.thread_count)}
        self.put(provider, values)
        read = at_once(
            self.thread_count, lambda number: provider.get_secrets([f"key/{number}", "key/0", "absent"])
        )
        assert read == [
            {f"key/{number}": f"value {number}", "key/0": "value 0"} for number in range(self.thread_count)
        ]

    @needs(ConditionalWriter)
    def test_race_to_create_has_one_winner(self, provider: Any) -> None:
        """Of many threads that create one key exactly one succeeds, and its value is there."""
        won = winners(
            self.thread_count, lambda number: provider.set_secret_if("key", f"value {number}", None)
        )
        self.settle()
        assert len(won) == 1
        assert provider.get_secret("key") == f"value {won[0]}"

    @needs(ConditionalWriter)
    def test_race_to_replace_has_one_winner(self, provider: Any) -> None:
        """Of many threads that saw one version exactly one replaces it, and its value is there."""
        version = provider.set_secret_if("key", "start", None)
        self.settle()
        won = winners(
            self.thread_count, lambda number: provider.set_secret_if("key", f"value {number}", version)
        )
        self.settle()
        assert len(won) == 1
        assert provider.get_secret("key") == f"value {won[0]}"

    @needs(StagedWriter, Describer)
    def test_race_to_promote_has_one_winner(self, provider: Any) -> None:
        """Of many threads that promote one pending version at most one succeeds, and readers get it."""
        self.put(provider, {"key": "old"})
        before = provider.describe_secret("key").version
        pending = provider.stage_secret("key", "new")
        self.settle()
        won = winners(
            self.thread_count,
            lambda _: provider.promote_version("key", pending, expected_version=before),
        )
        self.settle()
        assert len(won) == 1
        assert provider.get_secret("key") == "new"
