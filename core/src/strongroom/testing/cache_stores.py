"""The kit for stores that caches share: subclass `CacheStoreConformance` and override the fixture `store`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from strongroom.cache.store import CacheStore, FencedStore, TimedStore, WatchableStore
from strongroom.errors import ConflictError
from strongroom.testing.conformance.forks import Children

__all__ = ["CacheStoreConformance"]

_SOON = 10.0


def _is(store: Any, protocol: type[Any]) -> bool:
    return isinstance(store, protocol)  # in a function, so that the store stays all that it is


class CacheStoreConformance:
    """What every `strongroom.cache.CacheStore` does. Optional protocols are detected.

    Override `store`, an empty store, and if possible `reopened`, another one over the same data, as another
    process would have it; and `later`, a function that waits for some seconds.
    """

    @pytest.fixture
    def store(self) -> Any:
        """Return a store that holds nothing."""
        raise NotImplementedError

    @pytest.fixture
    def reopened(self, store: Any) -> Any:
        """Return a second store over the same data; without one of its own, the first."""
        return store

    @pytest.fixture
    def later(self) -> Callable[[float], None]:
        """Return a function that waits for some seconds."""
        return threading.Event().wait  # type: ignore[return-value]  # what it returns does not matter

    def test_it_has_the_methods_of_the_contract(self, store: Any) -> None:
        assert isinstance(store, CacheStore)

    def test_what_is_not_there_is_none(self, store: Any) -> None:
        assert store.get("space:name") is None

    @pytest.mark.parametrize("data", [b"data", b"", b"\0\xff" * 10_000])
    def test_data_comes_back_as_it_was(self, store: Any, reopened: Any, data: bytes) -> None:
        store.set("space:name", data, 60)
        assert store.get("space:name") == data
        assert reopened.get("space:name") == data

    def test_the_last_data_counts(self, store: Any) -> None:
        store.set("space:name", b"old", 60)
        store.set("space:name", b"new", 60)
        assert store.get("space:name") == b"new"

    def test_data_ends_with_its_time(self, store: Any, later: Any) -> None:
        store.set("space:short", b"data", 0.05)
        store.set("space:long", b"data", 60)
        later(0.1)
        assert store.get("space:short") is None
        assert store.get("space:long") == b"data"

    def test_a_timed_store_tells_what_is_left_of_a_life(self, store: Any, reopened: Any, later: Any) -> None:
        if not _is(store, TimedStore):
            pytest.skip("no TimedStore")
        store.set("space:name", b"data", 60)
        later(0.1)
        data, left = reopened.get_with_life("space:name")
        assert data == b"data"
        assert 0 < left <= 60 - 0.1
        store.set("space:short", b"data", 0.05)
        later(0.1)
        assert store.get_with_life("space:short") is None
        assert store.get_with_life("space:other") is None

    def test_nothing_is_kept_for_no_time(self, store: Any) -> None:
        store.set("space:name", b"data", 0)
        assert store.get("space:name") is None

    def test_a_dropped_name_is_gone_and_others_are_not(self, store: Any, reopened: Any) -> None:
        for name in ("space:one", "space:other"):
            store.set(name, b"data", 60)
        reopened.delete("space:one")
        reopened.delete("space:one")
        assert store.get("space:one") is None
        assert store.get("space:other") == b"data"

    def test_clearing_takes_what_begins_with_the_text(self, store: Any, reopened: Any) -> None:
        names = ("one:a", "one:b", "other:a", "*ne:a", "o?e:a", "[o]ne:a")
        for name in names:
            store.set(name, b"data", 60)
        reopened.clear("one:")
        assert [name for name in names if store.get(name) is not None] == list(names[2:])
        reopened.clear("*")
        assert [name for name in names if store.get(name) is not None] == ["other:a", "o?e:a", "[o]ne:a"]
        reopened.clear("")
        assert [name for name in names if store.get(name) is not None] == []

    def test_a_lock_has_one_holder(self, store: Any, reopened: Any) -> None:
        with store.lock("space:name", ttl_seconds=60, wait_seconds=0):
            with pytest.raises(ConflictError):
                self._enter(reopened.lock("space:name", ttl_seconds=60, wait_seconds=0.05))
            with reopened.lock("space:other", ttl_seconds=60, wait_seconds=0):
                pass
        with reopened.lock("space:name", ttl_seconds=60, wait_seconds=0):
            pass

    def test_a_lock_is_left_also_where_the_block_raises(self, store: Any) -> None:
        with pytest.raises(KeyError), store.lock("space:name", ttl_seconds=60, wait_seconds=0):
            raise KeyError
        with store.lock("space:name", ttl_seconds=60, wait_seconds=0):
            pass

    def test_who_waits_for_a_lock_gets_it_as_it_is_left(self, store: Any, reopened: Any) -> None:
        entered = threading.Event()
        with self._held(store, entered) as leave:
            assert entered.wait(_SOON)
            threading.Timer(0.1, leave.set).start()
            with reopened.lock("space:name", ttl_seconds=60, wait_seconds=_SOON):
                assert leave.is_set()

    def test_a_forked_child_leaves_its_parents_lock_alone(self, store: Any, reopened: Any) -> None:
        with ExitStack() as block:
            block.enter_context(store.lock("space:name", ttl_seconds=60, wait_seconds=0))
            Children(1, lambda _: block.close()).results()
            with pytest.raises(ConflictError):
                self._enter(reopened.lock("space:name", ttl_seconds=60, wait_seconds=0.05))
        with reopened.lock("space:name", ttl_seconds=60, wait_seconds=0):
            pass

    def test_tokens_grow(self, store: Any, reopened: Any) -> None:
        tokens = []
        for one in (store, reopened, store, reopened):
            with one.lock("space:name", ttl_seconds=60, wait_seconds=1) as token:
                tokens.append(token)
            one.delete("space:name")
        assert all(isinstance(token, int) for token in tokens)
        assert tokens == sorted(set(tokens))

    def test_the_lock_of_a_holder_that_does_not_leave_ends(
        self, store: Any, reopened: Any, later: Any
    ) -> None:
        with store.lock("space:name", ttl_seconds=0.05, wait_seconds=0) as first:
            later(0.1)
            with reopened.lock("space:name", ttl_seconds=60, wait_seconds=1) as second:
                assert second > first
                # The first one leaving frees nobody else's lock.
        with reopened.lock("space:name", ttl_seconds=60, wait_seconds=1):
            pass

    def test_a_late_holder_frees_nobody_else_s_lock(self, store: Any, reopened: Any, later: Any) -> None:
        late = store.lock("space:name", ttl_seconds=0.05, wait_seconds=0)
        late.__enter__()
        later(0.1)
        with reopened.lock("space:name", ttl_seconds=60, wait_seconds=1):
            late.__exit__(None, None, None)
            with pytest.raises(ConflictError):
                self._enter(store.lock("space:name", ttl_seconds=60, wait_seconds=0))

    def test_many_threads_hold_it_one_at_a_time(self, store: Any, reopened: Any) -> None:
        inside, most, tokens = 0, 0, []

        def work(own: Any) -> None:
            nonlocal inside, most
            for _ in range(5):
                with own.lock("space:name", ttl_seconds=60, wait_seconds=60) as token:
                    inside += 1
                    most = max(most, inside)
                    tokens.append(token)
                    inside -= 1

        threads = [threading.Thread(target=work, args=(one,)) for one in (store, reopened) * 3]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert most == 1
        assert len(tokens) == 30
        assert tokens == sorted(set(tokens))

    @pytest.mark.parametrize("overtaken_by", ["nothing", "delete", "clear", "another lock"])
    def test_data_that_was_overtaken_is_not_kept(
        self, store: Any, reopened: Any, later: Any, overtaken_by: str
    ) -> None:
        if not _is(store, FencedStore):
            pytest.skip("no FencedStore")
        with store.lock("space:name", ttl_seconds=0.05, wait_seconds=0) as token:
            if overtaken_by == "delete":
                reopened.delete("space:name")
            elif overtaken_by == "clear":
                reopened.clear("space:")
            elif overtaken_by == "another lock":
                later(0.1)
                with reopened.lock("space:name", ttl_seconds=60, wait_seconds=1):
                    pass
            kept = store.set_fenced("space:name", b"data", 60, token)
        assert kept == (overtaken_by == "nothing")
        assert store.get("space:name") == (b"data" if kept else None)

    @pytest.mark.parametrize("by", ["itself", "another"])
    def test_drops_are_told(self, store: Any, reopened: Any, by: str) -> None:
        if not _is(store, WatchableStore):
            pytest.skip("no WatchableStore")
        heard: list[str | None] = []
        changed = threading.Condition()

        def hear(name: str | None) -> None:
            with changed:
                heard.append(name)
                changed.notify_all()

        subscription = store.subscribe(hear)
        with changed:
            assert changed.wait_for(lambda: getattr(subscription, "alive", True), _SOON)
            heard.clear()
        other = store if by == "itself" else reopened
        other.delete("space:name")
        with changed:
            assert changed.wait_for(lambda: "space:name" in heard, _SOON)
        other.clear("space:")
        with changed:
            assert changed.wait_for(lambda: None in heard, _SOON)
        subscription.close()
        subscription.close()
        heard.clear()
        other.delete("space:name")
        assert not getattr(subscription, "alive", False)
        assert heard == []

    def test_its_repr_holds_no_data(self, store: Any) -> None:
        store.set("space:name", b"hunter22", 60)
        assert "hunter22" not in repr(store)

    @staticmethod
    def _enter(lock: Any) -> None:
        with lock:
            pass

    @staticmethod
    @contextmanager
    def _held(store: Any, entered: threading.Event) -> Iterator[threading.Event]:
        leave = threading.Event()

        def hold() -> None:
            with store.lock("space:name", ttl_seconds=60, wait_seconds=1):
                entered.set()
                leave.wait(_SOON)

        holder = threading.Thread(target=hold)
        holder.start()
        try:
            yield leave
        finally:
            leave.set()
            holder.join(_SOON)
