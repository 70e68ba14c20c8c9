"""A second level that fails, hangs, lags, or is dropped without a close."""

from __future__ import annotations

import logging
import threading
import time

import pytest
from cache_support import KEY, Backend, Remote, down, source_of, together
from strongroom import HierarchicalSecretCache, generate_key
from strongroom.cache import MemoryCacheStore
from strongroom.cache.resilient_store import ResilientStore
from strongroom.cache.single_flight import FetchResult
from strongroom.encryption import AESGCMEncryption
from strongroom.errors import BackendUnavailableError


class Wrong(MemoryCacheStore):
    """A store whose every call does what `wrong` does."""

    def __init__(self, wrong) -> None:
        super().__init__()
        self.wrong = wrong
        self.calls = 0

    def get(self, name):
        return self._go(super().get, name)

    def set_fenced(self, *args):
        return self._go(super().set_fenced, *args)

    def delete(self, name):
        return self._go(super().delete, name)

    def _go(self, method, *args):
        self.calls += 1
        if self.wrong is not None:
            return self.wrong()
        return method(*args)


@pytest.mark.parametrize("way", ["encrypt", "decrypt"])
def test_a_cipher_that_is_down_costs_a_fetch_and_no_entry(store, backend, clock, caplog, monkeypatch, way):
    monkeypatch.setenv("STRONGROOM_ENCRYPTION_KEY", KEY)  # for the names
    cipher = Remote()
    cache = HierarchicalSecretCache(0, 300, l2=store, encryption=cipher, clock=clock)
    if way == "decrypt":
        cache.get_or_fetch("key", backend)
    cipher.down = way
    assert cache.get_or_fetch("key", backend) == "value"
    many = cache.read_many(["key"], lambda keys: {key: FetchResult(backend(key)) for key in keys})
    assert many == {"key": "value"}
    assert cache.stats().errors
    assert "BackendUnavailableError" in caplog.text
    assert "an unreadable entry" not in caplog.text
    cipher.down = None
    clock.pass_by(5)
    cache.get_or_fetch("key", backend)
    asked = len(backend.calls)
    assert source_of(lambda: cache.get_or_fetch("key", backend)) == ("value", "l2")
    assert len(backend.calls) == asked


class TestAStoreThatFails:
    def test_one_that_raises_costs_a_fetch_and_is_left_alone(self, backend, clock, caplog):
        def raises():
            raise OSError("no route to hunter22")

        store = Wrong(raises)
        cache = HierarchicalSecretCache(0, 300, l2=store, encryption=AESGCMEncryption(KEY), clock=clock)
        for _ in range(5):
            assert cache.get_or_fetch("key", backend) == "value"
        assert store.calls == 1
        assert len(backend.calls) == 5
        assert cache.stats().errors == 1
        assert "OSError" in caplog.text
        assert "hunter22" not in caplog.text

    @pytest.mark.parametrize("method", ["get", "lock"])
    def test_a_panic_is_a_failure_too(self, method, backend, caplog, monkeypatch):
        """Of an extension in Rust: no `Exception`, so it would end a thread that others wait for."""

        class Panic(BaseException):
            pass

        def panics(*_, **__):
            raise Panic("hunter22")

        store = MemoryCacheStore()
        monkeypatch.setattr(store, method, panics)
        cache = HierarchicalSecretCache(l2=store, encryption=AESGCMEncryption(KEY), l2_timeout_seconds=60)
        assert cache.get_or_fetch("key", backend) == "value"
        assert cache.stats().errors == 1
        assert "Panic" in caplog.text
        assert "hunter22" not in caplog.text

    def test_what_a_third_partys_cipher_does_not_decrypt_is_rubbish_and_no_failure_of_the_store(
        self, monkeypatch, backend, caplog
    ):
        """Its own exception of a wrong key, of whatever class: the store answers all the same."""

        class Picky(Remote):
            def decrypt(self, token, *, context=b""):
                raise LookupError("no key for hunter22")

        monkeypatch.setenv("STRONGROOM_ENCRYPTION_KEY", KEY)
        store = MemoryCacheStore()
        for cipher in (Remote(), Picky(), Remote()):
            cache = HierarchicalSecretCache(l2=store, encryption=cipher, namespace="n", l2_timeout_seconds=60)
            assert cache.get_or_fetch("key", backend) == "value"
        assert len(backend.calls) == 2
        assert "unreadable" in caplog.text
        assert "left alone" not in caplog.text
        assert "hunter22" not in caplog.text

    def test_it_is_asked_again_after_a_pause_that_doubles(self, backend, clock, caplog):
        def raises():
            raise OSError

        store = Wrong(raises)
        cache = HierarchicalSecretCache(0, 300, l2=store, encryption=AESGCMEncryption(KEY), clock=clock)
        calls = []
        for _ in range(8):
            cache.get_or_fetch("key", backend)
            calls.append(store.calls)
            clock.pass_by(1)
        assert calls == [1, 2, 2, 3, 3, 3, 3, 4]
        store.wrong = None
        clock.pass_by(30)
        with caplog.at_level(logging.WARNING):
            cache.get_or_fetch("key", backend)
        assert "answers again" in caplog.text

    def test_a_wait_of_any_length_is_one(self, backend):
        store = MemoryCacheStore()
        for _ in range(2):  # the second cache finds what the first has stored
            cache = HierarchicalSecretCache(
                l2=store, encryption=AESGCMEncryption(KEY), l2_timeout_seconds=1e300
            )
            assert cache.get_or_fetch("key", backend) == "value"
            assert cache.stats().errors == 0
        assert len(backend.calls) == 1

    def test_one_that_hangs_costs_its_time_out_once(self, backend, clock):
        gate = threading.Event()
        store = Wrong(gate.wait)
        cache = HierarchicalSecretCache(
            0, 300, l2=store, encryption=AESGCMEncryption(KEY), l2_timeout_seconds=0.05, clock=clock
        )
        for _ in range(20):
            assert cache.get_or_fetch("key", backend) == "value"
        assert store.calls == 1
        gate.set()

    def test_a_lock_that_hangs_does_so_too(self, backend):
        gate, back = threading.Event(), []

        class Hangs(MemoryCacheStore):
            hung = 0

            def lock(self, name, **_):
                self.hung += 1
                back.append(gate.wait(300))
                raise AssertionError

            def get(self, name):
                if self.hung:
                    back.append(gate.wait(300))
                return super().get(name)

        store = Hangs()
        cache = HierarchicalSecretCache(
            l2=store, encryption=AESGCMEncryption(KEY), l2_timeout_seconds=0.05, lock_seconds=60
        )
        assert cache.get_or_fetch("key", backend) == "value"
        assert back == []  # it had its answer while they hung
        gate.set()

    @pytest.mark.parametrize("rubbish", [b"", b"rubbish", b"\xff\xfe", "text", 3, object()])
    def test_rubbish_costs_a_fetch_and_is_dropped(self, rubbish, host, store, backend, caplog):
        host().get_or_fetch("key", backend)
        (name,) = store._data
        store._data[name] = (rubbish, float("inf"))
        assert host().get_or_fetch("key", backend) == "value"
        assert "an unreadable entry" in caplog.text
        assert store._data[name][0] != rubbish
        assert len(backend.calls) == 2

    def test_what_could_not_be_dropped_is_dropped_before_anything_is_read(self, backend, clock):
        store = Wrong(None)
        cache = HierarchicalSecretCache(60, 300, l2=store, encryption=AESGCMEncryption(KEY), clock=clock)
        cache.get_or_fetch("key", backend)

        def raises():
            raise OSError

        store.wrong = raises
        cache.invalidate("key")
        backend.values["key"] = "newer"
        store.wrong = None
        assert cache.get_or_fetch("key", backend) == "newer"
        # Nobody has to come by for it: the other processes must not wait for long.
        end = time.monotonic() + 120
        while store._data:
            assert time.monotonic() < end
            time.sleep(0.01)

    def test_a_flush_in_mid_run_costs_a_fetch(self, host, store, backend):
        host().get_or_fetch("key", backend)
        store._data.clear()
        assert host().get_or_fetch("key", backend) == "value"

    def test_a_value_that_cannot_be_sealed_is_given_all_the_same(self, host, store):
        assert host().get_or_fetch("key", lambda _: "\ud800") == "\ud800"
        assert store._data == {}


def test_it_closes_what_it_listens_on(host, store):
    cache = host()
    cache.get_or_fetch("key", lambda _: "v")
    assert len(store._subscribers) == 1
    cache.close()
    assert store._subscribers == []


def test_a_cache_that_is_not_used_any_more_can_go(host, store):
    import gc
    import weakref

    cache = host()
    cache.get_or_fetch("key", Backend(key="v"))
    gone = weakref.ref(cache)
    del cache
    gc.collect()
    assert gone() is None
    store.delete("anything")


def test_one_that_was_dropped_without_close_stops_listening(host, store):
    import gc

    cache = host()
    cache.get_or_fetch("key", Backend(key="v"))
    ended = threading.Event()
    (subscriber,) = store._subscribers
    close = subscriber.close
    subscriber.close = lambda: (close(), ended.set())
    del cache
    gc.collect()
    assert ended.wait(300)
    assert store._subscribers == []


def test_fetches_that_take_long_hold_up_neither_drops_nor_other_reads(host, store):
    """As many as 64 at once, each of which holds a lock."""
    cache, other = host(), host()
    cache.get_or_fetch("seen", lambda _: "old")
    assert other.get_or_fetch("seen", lambda _: "not fetched") == "old"
    gate, entered = threading.Event(), threading.Semaphore(0)

    def slow(_):
        entered.release()
        gate.wait(300)
        return "value"

    readers = [
        threading.Thread(target=cache.get_or_fetch, args=(f"slow/{number}", slow)) for number in range(64)
    ]
    for reader in readers:
        reader.start()
    for _ in readers:
        assert entered.acquire(timeout=300)  # all of them are under way
    cache.invalidate("seen")
    assert cache._store._owed == {}
    assert other.get_or_fetch("seen", lambda _: "new") == "new"
    assert source_of(lambda: cache.get_or_fetch("seen", lambda _: "newer")) == ("new", "l2")
    gate.set()
    for reader in readers:
        reader.join(300)
    assert cache.stats().errors == 0


def test_nothing_waits_for_a_thread_that_cannot_be_had(monkeypatch):
    """At the end of a process, or if the machine has no more; the store is then used without its locks."""
    store = Wrong(None)
    cache = HierarchicalSecretCache(l2=store, encryption=AESGCMEncryption(KEY))

    def fail():
        raise down()

    def refuse(_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    backend = Backend(key="value", other="another")
    assert cache.get_or_fetch("key", backend) == "value"
    assert cache.read_many(["other"], lambda keys: {key: FetchResult(backend(key)) for key in keys}) == {
        "other": "another"
    }
    store.wrong = fail
    cache.invalidate("key")
    assert cache._store.owes()
    store.wrong = None
    assert cache.get_or_fetch("key", backend) == "value"


class Interrupted(ResilientStore):
    """Its next drop is interrupted before it gets to the store, until `go_on`."""

    interrupted = False

    def _settle_or_replay(self):
        if not self.interrupted:
            self.go_on()

    def go_on(self):
        super()._settle_or_replay()


@pytest.mark.parametrize("method", ["drop", "clear"])
def test_a_drop_that_comes_during_another_one_of_that_name_is_made_as_well(method):
    """In between another host may have kept what the second write replaces."""
    calls = []

    class Store(MemoryCacheStore):
        def delete(self, name):
            calls.append(name)
            if len(calls) == 1:
                guard.interrupted = True
                getattr(guard, method)([name])
                guard.interrupted = False

        clear = delete

    guard = Interrupted(Store(), timeout_seconds=60, lock_seconds=10)
    getattr(guard, method)(["name"])
    guard.go_on()
    assert calls == ["name", "name"]
    assert not guard.owes()


def test_after_an_outage_fences_fall_first():
    """A host that keeps what it fetched looks for its fence at the end: what it kept is dropped after that."""
    calls = []

    class Store(MemoryCacheStore):
        def delete(self, name):
            calls.append(name)

        clear = delete

    guard = Interrupted(Store(), timeout_seconds=60, lock_seconds=10)
    guard.interrupted = True
    guard.drop(["key"])  # as after a refusal
    guard.clear(["space:"])
    for name in ("key", "other"):
        guard.drop([name], fences=["fence"])
    guard.go_on()
    assert calls == ["fence", "key", "other", "space:"]


def test_a_drop_that_comes_as_the_last_one_is_replayed_is_made_as_well():
    """Nobody else would make it: the process may not use the store again for long."""
    calls, second = [], threading.Event()

    class Store(MemoryCacheStore):
        def delete(self, name):
            calls.append(name)
            if len(calls) == 1:
                raise ConnectionError
            if name == "late":
                second.set()

    class Guard(ResilientStore):
        def _settle(self):
            settled = super()._settle()
            if len(calls) == 2 and settled:
                late.start()
                late.join(300)  # it finds that the drops are being replayed
            return settled

    guard = Guard(Store(), timeout_seconds=60, lock_seconds=10, clock=lambda: 0.0)
    late = threading.Thread(target=guard.drop, args=(["late"],))
    guard.drop(["name"])
    assert second.wait(300)
    guard.close()


def test_what_a_store_has_to_import_first_counts_against_no_time(backend):
    gate = threading.Event()

    class Heavy(MemoryCacheStore):
        prepared = 0

        def prepare(self):
            Heavy.prepared += 1
            assert gate.wait(300)

    caches = [
        HierarchicalSecretCache(l2=store, encryption=AESGCMEncryption(KEY), l2_timeout_seconds=0.05)
        for store in [Heavy()]
    ]
    threading.Timer(0.3, gate.set).start()
    assert together(4, lambda: caches[0].get_or_fetch("key", backend)) == ["value"] * 4
    assert Heavy.prepared == 1
    assert caches[0].stats().errors == 0
    assert len(backend.calls) == 1


def test_what_is_logged_of_a_dead_second_level_names_pipeline_address_and_reason(caplog):
    """A stranger's error is told by its class alone: its text may hold anything."""

    class Dead(MemoryCacheStore):
        def __init__(self, error):
            super().__init__()
            self.error = error

        def get(self, name):
            raise self.error

    ours = BackendUnavailableError(
        "redis: reading failed: ConnectionError (redis://10.0.0.5)", provider="redis"
    )
    for error, expected in ((ours, "redis://10.0.0.5"), (ValueError("hunter2"), "(ValueError)")):
        caplog.clear()
        cache = HierarchicalSecretCache(60, 60, l2=Dead(error), encryption=AESGCMEncryption(generate_key()))
        cache.belongs_to("app")
        assert cache.get_or_fetch("k", lambda _: "v") == "v"
        message = next(one.getMessage() for one in caplog.records if "failed" in one.getMessage())
        assert "of pipeline app" in message
        assert expected in message
        assert "hunter2" not in message
        cache.close()
