"""Tests for each backend whose store several hosts share."""

from __future__ import annotations

import contextlib
import gc
import math
import os
import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from strongroom import SecretRotation
from strongroom.errors import ConflictError
from strongroom.testing.conformance.forks import Children

__all__ = ["SharedStoreTests"]


class SharedStoreTests:
    """They need a fixture `make`: a function that makes providers as separate hosts would."""

    def test_hosts_that_start_at_once_make_one_store(self, make):
        providers = [make() for _ in range(6)]
        start = threading.Barrier(len(providers), timeout=300)

        def work(number):
            start.wait()
            providers[number].set_secret(f"key/{number}", str(number))

        with ThreadPoolExecutor(len(providers)) as pool:
            list(pool.map(work, range(len(providers))))
        assert len(make().list_secrets()) == len(providers)

    def test_a_batch_that_meets_another_host_s_writes_is_whole(self, make):
        one, other = make(), make()
        one.set_secrets({"a": "1", "b": "1"})
        other.set_secret("b", "2")
        one.set_secrets({"a": "3", "b": "3", "c": "3"})  # what it knows of b is out of date
        other.set_secrets({"b": "4", "c": "4", "d": "4"})
        assert make().get_secrets(list("abcd")) == {"a": "3", "b": "4", "c": "4", "d": "4"}

    def test_two_hosts_rotating_make_one_rotation(self, make):
        one, other = make(), make()
        one.set_secret("key", "old")
        conflicts = []
        start = threading.Barrier(2, timeout=300)

        def rotate(provider):
            start.wait()
            try:
                SecretRotation(provider, 30).rotate("key")
            except ConflictError as error:
                conflicts.append(error)

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(rotate, (one, other)))
        assert make().get_secret("key") != "old"
        assert len(conflicts) <= 1

    def test_the_lock_keeps_hosts_apart_and_counts(self, make):
        one, other = make(), make()
        with (
            one.lock("job", ttl_seconds=60, wait_seconds=0) as first,
            pytest.raises(ConflictError),
            other.lock("job", ttl_seconds=60, wait_seconds=0),
        ):
            pass
        with other.lock("job", ttl_seconds=60, wait_seconds=0) as second:
            assert second > first

    @pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
    @pytest.mark.parametrize("seconds", [1e-9, 1e12, 1e300, math.inf])
    def test_a_lock_may_be_held_for_any_time(self, make, seconds):
        with make().lock("job", ttl_seconds=seconds, wait_seconds=0) as token:
            assert token > 0

    def test_a_forked_child_leaves_its_parents_connections_alone(self, make):
        """It opens one of its own, and closing that leaves the parent the one that it had."""
        provider = make()
        provider.set_secret("key", "1")
        before = _sockets()

        def work(_):
            assert provider.get_secret("key") == "1"
            own = len(_sockets() - before)
            provider.close()
            return own

        assert Children(2, work).results() == [1, 1]
        assert provider.get_secret("key") == "1"
        assert _sockets() == before

    @pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
    def test_no_connection_stays_open_after_close(self, make):
        """Nor does that of a call which ends after it."""
        before = _sockets()
        provider = make()
        provider.set_secret("key", "1")
        assert _sockets() != before
        provider.close()
        assert provider.get_secret("key") == "1"
        assert _sockets() == before

    @pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
    def test_a_watch_that_is_closed_before_its_thread_begins_leaves_no_connection(self, make, monkeypatch):
        provider, closing = make(), threading.Event()
        provider.set_secret("key", "1")
        run, join = threading.Thread.run, threading.Thread.join
        listens = f"strongroom-{provider.type_name}"

        def run_late(thread):
            assert thread.name != listens or closing.wait(300)
            run(thread)

        def join_and_go(thread, timeout=None):
            if thread.name == listens:
                closing.set()
            join(thread, timeout)

        monkeypatch.setattr(threading.Thread, "run", run_late)
        monkeypatch.setattr(threading.Thread, "join", join_and_go)
        before = _sockets()
        subscription = provider.subscribe_changes(lambda _: None)
        assert _sockets() != before
        subscription.close()
        assert closing.is_set()
        assert _sockets() == before

    def test_subscriptions_that_were_closed_keep_nothing_alive(self, make):
        class Callback:
            def __call__(self, changes):
                pass

        provider = make()
        provider.set_secret("a", "1")
        callback = Callback()
        gone = weakref.ref(callback)
        provider.subscribe_changes(callback).close()
        del callback
        provider.subscribe_changes(lambda _: None).close()
        gc.collect()
        assert gone() is None

    @pytest.mark.parametrize("kind", [ValueError, SystemExit])
    def test_a_callback_that_fails_or_exits_is_told_of_what_follows(self, make, kind):
        provider, told, one_more = make(), [], threading.Semaphore(0)
        provider.set_secret("a", "1")

        def fails(changes):
            told.append([one.key for one in changes])
            one_more.release()
            raise kind

        subscription = provider.subscribe_changes(fails)
        for key in ("b", "c"):
            provider.set_secret(key, "1")
            assert one_more.acquire(timeout=100)
        subscription.close()
        assert told == [["b"], ["c"]]

    def test_a_forked_child_leaves_its_parents_lock_alone(self, make):
        one, other = make(), make()
        with contextlib.ExitStack() as block:
            block.enter_context(one.lock("job", ttl_seconds=60, wait_seconds=0))
            Children(1, lambda _: block.close()).results()
            with pytest.raises(ConflictError), other.lock("job", ttl_seconds=60, wait_seconds=0):
                pass
        with other.lock("job", ttl_seconds=60, wait_seconds=0):
            pass


def _sockets():
    """Return what this process's sockets are to the kernel."""
    links = set()
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # the one that lists them is closed by now
            links.add(str(Path("/proc/self/fd", name).readlink()))
    return {link for link in links if link.startswith("socket:")}
