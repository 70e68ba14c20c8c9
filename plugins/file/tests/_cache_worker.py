"""A process that shares a cache: `DO PATH ARGUMENT…`, and says on stdout what came of it."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from strongroom_file import FileCacheStore


def say(word: object) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def hold(store: FileCacheStore, seconds: str) -> None:
    """Hold a lock until killed."""
    with store.lock("space:name", ttl_seconds=float(seconds), wait_seconds=60) as token:
        say(token)
        signal.pause()


def count(store: FileCacheStore, path: str, times: str) -> None:
    """Add to the number in a file, which only who holds the lock may do."""
    number = Path(path)
    for _ in range(int(times)):
        with store.lock("space:name", ttl_seconds=60, wait_seconds=60) as token:
            number.write_text(str(int(number.read_text()) + 1))
            say(token)


def write(store: FileCacheStore) -> None:
    """Write and drop until killed."""
    for turn in range(10**9):
        store.set(f"space:{turn % 50}", bytes(100 + turn % 5000), 60)
        if turn % 7 == 0:
            store.delete(f"space:{turn % 31}")
        if turn >= 20:
            say("under way")


def fetch(store: FileCacheStore, key: str, path: str) -> None:
    """Say so, and read through a cache on the store; note each fetch in a file, and let it take until told to go on."""
    from strongroom.cache import HierarchicalSecretCache
    from strongroom.encryption import AESGCMEncryption

    def fetched(name: str) -> str:
        with Path(path).open("a") as file:
            file.write(f"{name}\n")
        sys.stdin.readline()
        return "value"

    cache = HierarchicalSecretCache(l2=store, encryption=AESGCMEncryption(key), l2_timeout_seconds=30)
    say("asking")
    say(cache.get_or_fetch("database/password", fetched))
    cache.close()


def drop(store: FileCacheStore, name: str) -> None:
    store.delete(name)


if __name__ == "__main__":
    do, path, *arguments = sys.argv[1:]
    with FileCacheStore(path, timeout_seconds=30) as shared:
        {"hold": hold, "count": count, "write": write, "fetch": fetch, "drop": drop}[do](shared, *arguments)
