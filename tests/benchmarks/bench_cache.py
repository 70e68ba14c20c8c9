"""A cached read through an assembled pipeline beside what it could not be faster than, and beside its peers."""

from __future__ import annotations

import asyncio
import logging
import statistics
import threading
import time
import timeit
import tracemalloc
from collections.abc import Callable
from typing import Any

from strongroom import HierarchicalSecretCache, SecretCache, SecretProviderRegistry, generate_key
from strongroom.aio import AsyncSecretRegistry
from timing import row

KEY = "database/password"
SPEC = {
    "version": 1,
    "pipelines": {
        "app": {
            "provider": {"type": "memory"},
            "middleware": [
                {"type": "caching", "ttl_seconds": 3600},
                {"type": "validation", "max_length": 4096},
                {"type": "encryption", "key": generate_key()},
            ],
        }
    },
}
_READS, _ROUNDS = 2_000, 25
_THREADS, _READS_A_THREAD = 8, 50_000
_ENTRIES = 100_000


def reads(*readers: Callable[[str], object]) -> list[float]:
    """Return the median seconds of one read by each reader, taken in turns."""
    timers = [timeit.Timer("read(key)", globals={"read": read, "key": KEY}) for read in readers]
    taken = [[min(timer.repeat(3, _READS)) / _READS for timer in timers] for _ in range(_ROUNDS)]
    return [statistics.median(column) for column in zip(*taken, strict=True)]


def bare() -> Callable[[str], str]:
    """Return the least that a cache with a time to live can do: a lock, a dictionary, a clock."""
    lock, table, clock = threading.Lock(), {KEY: ("value", time.monotonic() + 3600)}, time.monotonic

    def read(key: str) -> str:
        with lock:
            value, expires = table[key]
        if clock() >= expires:
            raise KeyError(key)
        return value

    return read


def as_in_the_seed() -> list[float]:
    """Return the seconds of a cached `get_or_fetch(key, fetch)` of both caches, and of the least there can be."""
    direct, shared, least = SecretCache(3600), HierarchicalSecretCache(3600), bare()

    def fetch(key: str) -> str:
        return f"value of {key}"

    def peer(key: str) -> str:
        try:
            return least(key)
        except KeyError:
            return fetch(key)

    found = reads(
        lambda key: direct.get_or_fetch(key, fetch),
        lambda key: shared.get_or_fetch(key, fetch),
        lambda key: peer(key),  # noqa: PLW0108  # the others have one more call, too
    )
    shared.close()
    return found


async def awaited(registry: SecretProviderRegistry) -> tuple[float, float]:
    """Return the median seconds of a cached read in an event loop: awaited, and of the plain registry."""
    own = AsyncSecretRegistry(registry)
    wait_for, read = own.get_secret, registry.get_secret
    await wait_for(KEY)
    taken: list[tuple[float, float]] = []
    for _ in range(_ROUNDS):
        begin = time.perf_counter()
        for _ in range(_READS):
            await wait_for(KEY)
        between = time.perf_counter()
        for _ in range(_READS):
            read(KEY)
        taken.append((between - begin, time.perf_counter() - between))
    mine, plain = (statistics.median(column) / _READS for column in zip(*taken, strict=True))
    return mine, plain


def by_cachetools() -> Callable[[str], str]:
    """Return a function that cachetools remembers, with a lock and a time to live."""
    import cachetools

    @cachetools.cached(cachetools.TTLCache(10_000, 3600), lock=threading.Lock())
    def read(key: str) -> str:
        return f"value of {key}"

    read(KEY)
    return read  # type: ignore[no-any-return]  # the peer has no types


def by_aws() -> Callable[[str], str]:
    """Return AWS's own cache, its client pointed at a server that this process runs."""
    import boto3
    from aws_secretsmanager_caching import SecretCache as AwsCache
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    client = boto3.client(
        "secretsmanager",
        region_name="us-east-1",
        endpoint_url=f"http://{host}:{port}",
        aws_access_key_id="testing",
        aws_secret_access_key="testing",  # the emulator's
    )
    client.create_secret(Name=KEY, SecretString="value")
    cache = AwsCache(client=client)
    cache.get_secret_string(KEY)
    server.stop()  # from here on it answers from memory, or not at all
    return cache.get_secret_string  # type: ignore[no-any-return]  # the peer has no types


def together(read: Callable[[str], object], threads: int) -> float:
    """Return the seconds that this many threads take for one and the same total of reads."""
    each = _THREADS * _READS_A_THREAD // threads
    ready = threading.Barrier(threads + 1)

    def run() -> None:
        ready.wait()
        for _ in range(each):
            read(KEY)

    workers = [threading.Thread(target=run) for _ in range(threads)]
    for worker in workers:
        worker.start()
    ready.wait()
    started = time.perf_counter()
    for worker in workers:
        worker.join()
    return time.perf_counter() - started


def memory() -> tuple[int, int]:
    """Return the bytes of a cache, and of a dictionary of pairs, with the same strings of their own."""
    sizes = []
    for fill in (_filled_cache, _filled_dictionary):
        tracemalloc.start()
        kept = fill()
        sizes.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
        del kept
    return sizes[0], sizes[1]


def _filled_cache() -> object:
    cache = SecretCache(max_entries=_ENTRIES, fetch_timeout_seconds=None)
    for number in range(_ENTRIES):
        cache.get_or_fetch(f"service/{number:06}/password", lambda key: f"value of {key}")
    return cache


def _filled_dictionary() -> object:
    keys = (f"service/{number:06}/password" for number in range(_ENTRIES))
    return {key: (f"value of {key}", time.monotonic()) for key in keys}


def rows() -> list[dict[str, Any]]:
    """Return reads beside peers, reads of many threads, and memory."""
    with SecretProviderRegistry(SPEC) as registry:
        registry.set_secret(KEY, "value")
        ours = registry.get_secret
        ours(KEY)
        own, least, tools, aws = reads(ours, bare(), by_cachetools(), by_aws())
        pairs = [(together(ours, 1), together(ours, _THREADS)) for _ in range(11)]
        alone, crowd = (statistics.median(column) for column in zip(*pairs, strict=True))
        in_loop, plain = asyncio.run(awaited(registry))
    direct, shared, peer = as_in_the_seed()
    cache, dictionary = memory()
    return [
        row("SecretCache.get_or_fetch / lock, dictionary and clock", direct, peer, 1.3, unit="ns"),
        row("HierarchicalSecretCache.get_or_fetch / the same", shared, peer, 1.4, unit="ns"),
        row("cached read / lock, dictionary and clock", own, least, 1.5, unit="ns"),
        row("cached read / cachetools.cached with lock and TTL", own, tools, 0.5, unit="ns"),
        row("cached read / aws-secretsmanager-caching", own, aws, 1 / 60, unit="ns"),
        row("AsyncSecretRegistry: cached read / the plain registry's", in_loop, plain, 1.5, unit="ns"),
        row("cached reads of 8 threads / the same of one", crowd, alone, 1.25),
        {
            "name": "memory of 100,000 cached / a dictionary of pairs",
            "ratio": cache / dictionary,
            "limit": 2.0,
            "detail": f"{cache / _ENTRIES:.0f} bytes against {dictionary / _ENTRIES:.0f} each",
        },
    ]
