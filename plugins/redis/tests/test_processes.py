"""Several processes over one Valkey: one fetch, locks, writes that are seen, forks, connections."""

from __future__ import annotations

import gc
import multiprocessing
import os
import subprocess
import sys
import time

import pytest
from redis_support import KEY, soon
from redis_workers import answer_writes, ask_at_once, ask_at_start, cache_on, hold_in_turns
from strongroom.cache import HierarchicalSecretCache
from strongroom.encryption import AESGCMEncryption
from strongroom_redis import RedisCacheStore

# Forked from a process that has imported all of it and has no threads.
SPAWN = multiprocessing.get_context("forkserver")
SPAWN.set_forkserver_preload(["strongroom_redis.store", "strongroom.cache.hierarchical", "redis"])


def test_eight_processes_that_ask_at_once_make_one_fetch(server):
    count, ready, asking = SPAWN.Value("i", 0), SPAWN.Barrier(8), SPAWN.Semaphore(0)
    answers = SPAWN.Queue()
    given = (server.url, KEY, count, ready, asking, answers)
    workers = [SPAWN.Process(target=ask_at_once, args=given) for _ in range(8)]
    for worker in workers:
        worker.start()
    assert [answers.get(timeout=300) for _ in workers] == ["value"] * 8
    for worker in workers:
        worker.join(300)
    assert count.value == 1


def test_eight_processes_that_start_together_make_one_fetch(server):
    count, ready, answers = SPAWN.Value("i", 0), SPAWN.Barrier(8), SPAWN.Queue()
    workers = [
        SPAWN.Process(target=ask_at_start, args=(server.url, KEY, ready, count, answers)) for _ in range(8)
    ]
    for worker in workers:
        worker.start()
    assert [answers.get(timeout=240) for _ in workers] == ["value"] * 8
    for worker in workers:
        worker.join(300)
    assert count.value == 1


def test_a_store_that_was_dropped_without_close_closes_its_connection_before_it_is_collected(server):
    """Python collects a socket before the client that would close it, or after: that is not told."""

    store = RedisCacheStore(server.url, timeout_seconds=10)
    store.set("name", b"data", 60)
    client = store._client
    del store
    gc.collect()
    assert [one._sock for one in client.connection_pool._available_connections] == [None]


IMPORT_SLOWLY = """
import sys, threading, time, types
passed, imported = 0.0, {}
class Slow:
    "Finds nothing, and takes an hour for it."
    @staticmethod
    def find_spec(name, path=None, target=None):
        global passed
        if name.partition(".")[0] == "redis":
            imported[name] = threading.current_thread()
            passed += 3600
from strongroom import deadlines
from strongroom.cache import HierarchicalSecretCache
from strongroom.encryption import AESGCMEncryption
from strongroom_redis import RedisCacheStore
deadlines.time = types.SimpleNamespace(monotonic=lambda: time.monotonic() + passed)
sys.meta_path.insert(0, Slow)
# Its thread imports too, and nobody waits for that.
RedisCacheStore.subscribe = lambda *_: types.SimpleNamespace(alive=True, close=lambda: None)
url, key = sys.argv[1:]
store = RedisCacheStore(url, timeout_seconds=10)
cache = HierarchicalSecretCache(l2=store, encryption=AESGCMEncryption(key), l2_timeout_seconds=10)
cache.get_or_fetch("key", lambda _: "value")
# By the thread that fetches: those that ask the server are waited for only as long as a timeout says.
assert {thread.name for thread in imported.values()} == {"strongroom-fetch"}, imported
"""


def test_what_importing_redis_takes_counts_against_no_time_out(server):
    """As where processes start together on a busy machine: the import takes longer than the server may."""
    subprocess.run([sys.executable, "-c", IMPORT_SLOWLY, server.url, KEY], check=True)
    assert b"strongroom:d:" in server.ask("KEYS", "*")


def test_caches_that_were_dropped_without_close_leave_no_connection(server):

    def used():
        cache = HierarchicalSecretCache(
            l2=RedisCacheStore(server.url, timeout_seconds=10),
            encryption=AESGCMEncryption(KEY),
            l2_timeout_seconds=10,
        )
        cache.get_or_fetch("key", lambda _: "value")

    for _ in range(3):
        used()
    gc.collect()
    until = time.monotonic() + 60
    while b"connected_clients:1\r" not in server.ask("INFO", "clients"):
        assert time.monotonic() < until
        time.sleep(0.02)  # the server tells no other way
        gc.collect()


def test_processes_hold_a_lock_one_at_a_time_and_its_tokens_grow(server):
    log = SPAWN.Queue()
    workers = [SPAWN.Process(target=hold_in_turns, args=(server.url, own, log)) for own in range(8)]
    for worker in workers:
        worker.start()
    tokens, ended = {}, 0
    while ended < 8:
        what, own, token = log.get(timeout=300)
        ended += what == "end"
        if what == "in":
            assert token not in tokens
            tokens[token] = own
    for worker in workers:
        worker.join(300)
    assert len(tokens) == 80


def see_writes(server, trials):
    """Check that each write is told there: who only let them end would keep what it has for an hour."""
    orders, answers = SPAWN.Queue(), SPAWN.Queue()
    other = SPAWN.Process(target=answer_writes, args=(server.url, KEY, orders, answers))
    other.start()
    assert answers.get(timeout=300) == "asked"
    soon(lambda: b"strongroom" in server.ask("PUBSUB", "CHANNELS"), 60)
    mine = cache_on(server.url, KEY)
    for number in range(trials):
        orders.put(str(number))
        assert answers.get(timeout=300) == "told"
        mine.invalidate("key")
        assert answers.get(timeout=300) == "seen"
    orders.put(None)
    other.join(300)
    mine.close()


def test_a_write_here_is_seen_there(server):
    see_writes(server, 10)


@pytest.mark.torture
def test_a_thousand_writes_here_are_seen_there(server):
    see_writes(server, 1000)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_makes_connections_of_its_own(server):
    store = RedisCacheStore(server.url, timeout_seconds=10)
    subscription = store.subscribe(lambda _: None)
    soon(lambda: subscription.alive)
    store.set("a:b", b"data", 60)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover  # coverage does not follow
        state = b"%r %r" % (store.get("a:b"), subscription.alive)
        os.write(write, state)
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as answer:
        assert answer.read() == b"b'data' False"
    os.waitpid(child, 0)
    assert store.get("a:b") == b"data"
    store.close()
