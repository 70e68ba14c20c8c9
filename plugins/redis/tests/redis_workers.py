"""What the tests run in processes of their own."""

from __future__ import annotations

from strongroom.cache import HierarchicalSecretCache
from strongroom.encryption import AESGCMEncryption
from strongroom_redis import RedisCacheStore


def cache_on(url, key, **options):
    return HierarchicalSecretCache(
        l2=RedisCacheStore(url, timeout_seconds=10), encryption=AESGCMEncryption(key),
        l2_timeout_seconds=10, lock_seconds=30, **options,
    )  # fmt: skip


def ask_at_once(url, key, count, ready, asking, answers):
    cache = cache_on(url, key)
    cache.get_or_fetch("warm", lambda _: "up")

    def fetch(_):
        with count.get_lock():
            count.value += 1
        for _ in range(ready.parties):  # until all of them ask
            asking.acquire(timeout=300)
        return "value"

    ready.wait(300)
    asking.release()
    answers.put(cache.get_or_fetch("key", fetch))


def ask_at_start(url, key, ready, count, answers):
    """The first use, by all at the same moment; with time enough for a server that has little of its CPUs."""

    def fetch(_):
        with count.get_lock():
            count.value += 1
        return "value"

    cache = cache_on(url, key)
    ready.wait(300)
    answers.put(cache.get_or_fetch("key", fetch))


def hold_in_turns(url, own, log):
    store = RedisCacheStore(url, timeout_seconds=10)
    for _ in range(10):
        with store.lock("a:b", ttl_seconds=60, wait_seconds=60) as token:
            log.put(("in", own, token))
            log.put(("out", own, token))
    log.put(("end", own, 0))


def answer_writes(url, key, orders, answers):
    """The other host: reads until it sees each new value, and says so."""
    cache = cache_on(url, key, l1_ttl_seconds=3600, l2_ttl_seconds=3600)
    current = {"value": ""}
    cache.get_or_fetch("key", lambda _: "first")
    answers.put("asked")
    for value in iter(orders.get, None):
        current["value"] = value
        answers.put("told")
        while cache.get_or_fetch("key", lambda _: current["value"]) != value:
            pass
        answers.put("seen")
