"""A program for `test_crossings.py`: threads, tasks, forks, a writer and rotations over one spec with two tenants.

It reads `{"spec": …, "reads": N, "forks": M}` from standard input and prints one line of JSON: how many reads
there were, what came back that was not the reader's own, and the errors, by their text. Values say whose they
are (`tenant|key|number`), so each read judges itself; the writer also reads back what it has just written.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import threading
from collections import Counter

from strongroom import SecretProviderRegistry, SecretRotation, TenantContext
from strongroom.aio import AsyncSecretRegistry
from strongroom.testing.conformance.forks import Children

TENANTS = ("acme", "umbra")
KEYS = tuple(f"db/p{number}" for number in range(6))


class Reader:
    """Reads in any number of threads and tasks of one process, and counts what it sees."""

    def __init__(self, registry):
        self.registry, self.reads, self.strangers, self.errors = registry, 0, [], Counter()
        self.lock = threading.Lock()

    def judge(self, tenant, key, value):
        with self.lock:
            self.reads += 1
            if value.split("|")[:2] != [tenant, key]:
                self.strangers.append([tenant, key, value])

    def failed(self, error):
        with self.lock:
            self.errors[f"{type(error).__name__}: {error}"] += 1

    def in_thread(self, seed, reads):
        chance = random.Random(seed)
        for _ in range(reads):
            tenant = chance.choice(TENANTS)
            try:
                with TenantContext(tenant):
                    if chance.random() < 0.7:
                        key = chance.choice(KEYS)
                        self.judge(tenant, key, self.registry.get_secret(key))
                        continue
                    for key, value in self.registry.get_secrets(chance.sample(KEYS, 3)).items():
                        self.judge(tenant, key, value)
            except Exception as error:  # the test shows each
                self.failed(error)

    def in_tasks(self, seed, reads):
        async def task(registry, chance):
            for _ in range(reads // 4):
                tenant, key = chance.choice(TENANTS), chance.choice(KEYS)
                try:
                    with TenantContext(tenant):
                        self.judge(tenant, key, await registry.get_secret(key))
                except Exception as error:  # the test shows each
                    self.failed(error)

        async def tasks():
            registry = AsyncSecretRegistry(self.registry)
            await asyncio.gather(*(task(registry, random.Random(f"{seed} {number}")) for number in range(4)))

        asyncio.run(tasks())

    def run(self, seed, reads):
        threads = [threading.Thread(target=self.in_thread, args=(f"{seed} {one}", reads)) for one in range(2)]
        threads.append(threading.Thread(target=self.in_tasks, args=(seed, reads)))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def summary(self):
        return {"reads": self.reads, "strangers": self.strangers[:5], "errors": dict(self.errors)}


def write(reader, stop):
    """Set and rotate in turn, and read back at once, until `stop`."""
    chance, number = random.Random(7), 0
    while not stop.is_set():
        number += 1
        tenant, key = chance.choice(TENANTS), chance.choice(KEYS)
        value = f"{tenant}|{key}|{number}"
        try:
            with TenantContext(tenant):
                if number % 2:
                    reader.registry.set_secret(key, value)
                else:
                    SecretRotation(reader.registry, apply=lambda *_: None, verify=lambda *_: True).rotate(
                        key, value
                    )
                seen = reader.registry.get_secret(key)
        except Exception as error:  # the test shows each
            reader.failed(error)
            continue
        if seen != value:
            reader.strangers.append([tenant, key, f"{seen} after {value}"])


def main():
    request = json.load(sys.stdin)
    with SecretProviderRegistry(request["spec"]) as registry:
        for tenant in TENANTS:
            with TenantContext(tenant):
                for key in KEYS:
                    registry.set_secret(key, f"{tenant}|{key}|0")
        reader, stop = Reader(registry), threading.Event()
        writer = threading.Thread(target=write, args=(reader, stop))
        readers = threading.Thread(target=reader.run, args=("parent", request["reads"]))
        writer.start()
        readers.start()

        def in_child(number):
            own = Reader(registry)
            own.run(f"child {number}", request["reads"])
            return own.summary()

        children = [summary for _ in range(request["forks"]) for summary in Children(2, in_child).results()]
        readers.join()
        stop.set()
        writer.join()
        sys.stdout.write(json.dumps({"parent": reader.summary(), "children": children}))


if __name__ == "__main__":
    main()
