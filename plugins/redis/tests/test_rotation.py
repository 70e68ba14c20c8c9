"""Rotation with a Valkey: caches of other hosts learn of it, and its lock lets one process rotate."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from strongroom import CachingMiddleware, SecretRotation, generate_key
from strongroom.encryption import AESGCMEncryption
from strongroom_memory import MemorySecretProvider
from strongroom_redis import RedisCacheStore

KEY = "database/password"
WORKER = Path(__file__).parent / "rotator.py"


def test_a_promotion_is_seen_by_the_cache_of_another_host(server):
    backend, cipher = MemorySecretProvider(secrets={KEY: "old"}), AESGCMEncryption(generate_key())

    def host():
        store = RedisCacheStore(server.url, timeout_seconds=10)
        return CachingMiddleware(backend, 3600, l2=store, encryption=cipher, namespace="app")

    with host() as here, host() as there:
        assert here.get_secret(KEY) == there.get_secret(KEY) == "old"
        seen = []
        SecretRotation(here, verify=lambda key, _: seen.append(there.get_secret(key))).rotate(KEY, "new")
        assert seen == ["old"]
        assert here.get_secret(KEY) == "new"
        until = time.monotonic() + 120
        while there.get_secret(KEY) != "new":
            assert time.monotonic() < until
            time.sleep(0.005)


def test_its_lock_lets_one_of_eight_processes_rotate_where_the_backend_cannot(server, tmp_path):
    done = subprocess.run(
        [sys.executable, WORKER, server.url, tmp_path, "8"],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["ConflictError"] * 7 + ["current"]
