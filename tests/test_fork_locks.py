"""A child that is forked while other threads hold locks finds each lock of strongroom's free.

Whatever has a lock is looked for among all objects and modules, so that nobody is left out who forgot to tell
of it; `tests/test_forks.py` and the tests of each backend try what is done under the locks.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import sys
import threading
import types
from collections import deque
from functools import partial

import pytest
from strongroom import SecretProviderRegistry, generate_key
from strongroom.aio import AsyncSecretRegistry
from strongroom.cache import HierarchicalSecretCache, MemoryCacheStore
from strongroom.errors import BackendUnavailableError
from strongroom.testing.conformance.forks import Children
from strongroom_etcd.client import Client
from strongroom_postgresql.connection import Pool

KEY = generate_key()
VAULT = {"url": "http://127.0.0.1:9", "token": "t"}
AWS = {"region_name": "eu-west-1", "access_key_id": "x", "secret_access_key": "y"}


def spec(folder):
    """Return a spec of every provider, second level, cipher and hook that can be made without a server."""
    sealed = {"encryption_key": KEY}
    providers = {
        "memory": {},
        "env": {},
        "directory": {"path": str(folder)},
        "file": {"file_path": str(folder / "s.enc"), **sealed},
        "vault": VAULT,
        "vault.leases": VAULT,
        "aws": AWS,
        "aws.parameters": AWS,
        "aws.sts": {**AWS, "roles": {"x": "arn:aws:iam::123456789012:role/x"}},
        "azure": {"vault_url": "https://127.0.0.1:9"},
        "gcp": {"project_id": "a-project"},
        "keyring": {},
        "postgresql": {"url": "postgresql://127.0.0.1:9/db", **sealed},
        "etcd": {"endpoints": "http://127.0.0.1:9", **sealed},
        "exec": {"command": [sys.executable, "-c", ""]},
        "sops": {"path": str(folder / "s.yaml")},
        "keepass": {"path": str(folder / "s.kdbx"), "password": "a password that is long"},
        "pass": {},
    }
    levels = {
        "file.cache": {"path": str(folder / "cache.db")},
        "redis": {"url": "redis://127.0.0.1:9"},
    }
    pipelines = {
        name.replace(".", "-"): {"provider": {"type": name, **options}} for name, options in providers.items()
    }
    for name, options in levels.items():
        pipelines[f"above-{name.replace('.', '-')}"] = {
            "provider": {"type": "vault", **VAULT},
            "middleware": [
                {
                    "type": "caching",
                    "l2": {"type": name, **options},
                    "encryption": {"type": "aes-gcm", "key": KEY},
                },
                {"type": "encryption", "cipher": {"type": "vault.transit", "key_name": "k", **VAULT}},
            ],
        }
    return {
        "version": 1,
        "pipelines": pipelines,
        "default": "memory",
        "hooks": [
            {"type": "audit", "path": str(folder / "audit.jsonl"), "key": "k" * 32},
            {"type": "telemetry"},
        ],
    }


def locks(*roots):
    """Return each lock that can be reached from `roots` and the modules of strongroom, by what has it."""
    found, seen = {}, set()
    waiting = [("", one) for one in roots]
    for name, module in sys.modules.copy().items():
        waiting += [(name, value) for value in vars(module).values()] if is_ours(name) else []
    while waiting:
        owner, one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if type(one).__module__.startswith("django."):
            continue  # its settings would want to be configured, whatever they are asked
        kind = one if isinstance(one, type) else type(one)
        ours = is_ours(kind.__module__)
        if not isinstance(one, type) and hasattr(one, "acquire") and hasattr(one, "release"):
            found[f"{owner} {id(one)}"] = one
        elif isinstance(one, types.FunctionType):
            waiting += [(owner, cell) for cell in one.__closure__ or ()]
        elif ours or isinstance(one, HOLDING):
            owner = f"{kind.__module__}.{kind.__name__}" if ours else owner
            waiting += [(owner, held) for held in gc.get_referents(one)]
    return found


def is_ours(module):
    name = str(module)
    return name.startswith("strongroom") and not name.startswith("strongroom.testing")


HOLDING = (dict, list, tuple, set, frozenset, deque, partial, types.MethodType, types.CellType)


@pytest.fixture
def everything(tmp_path):
    """A registry in which all that can be made without a server is made."""
    with SecretProviderRegistry(spec(tmp_path)) as registry:
        registry.watch("a", lambda _: None, poll_seconds=3600)
        for name in registry.plan.pipelines:
            registry.pipeline(name)
        importlib.import_module("strongroom.integrations.keyring")  # its registry is made once a process
        assert registry.pipeline("file").list_secrets() == []
        with contextlib.closing(HierarchicalSecretCache(1, 1, l2=MemoryCacheStore())) as cache:
            # These are made at the first call of a server.
            made = [
                Client(["http://127.0.0.1:9"], None, None, (None, None, None), 1),
                Pool(lambda _: None, 1, "", (), None),
            ]
            yield AsyncSecretRegistry(registry), cache, *made


def test_each_lock_is_free_in_a_child(everything, monkeypatch):
    # What is brought to rest is as good as lost.
    monkeypatch.setattr("strongroom.runtime.forks._LONGEST_WAIT", 0.0)
    taken, released = threading.Event(), threading.Event()
    held = []

    def hold():
        for where, lock in locks(*everything).items():
            if lock.acquire(timeout=300):
                held.append((where, lock))
        taken.set()
        released.wait(300)
        for _, lock in held:
            lock.release()

    def work(_):
        return sorted(where for where, lock in locks(*everything).items() if not lock.acquire(timeout=0))

    holder = threading.Thread(target=hold, daemon=True)
    holder.start()
    assert taken.wait(300)
    try:
        still = Children(1, work).results()
    finally:
        released.set()
        holder.join(300)
    holders = {where.partition(" ")[0] for where, _ in held}
    assert len(holders) > 35, holders
    assert still == [[]]


ON_A_THREAD_OF_THEIR_OWN = {
    "strongroom_aws.connection.AwsClient",
    "strongroom_azure.connection.AzureConnection",
    "strongroom_gcp.connection.GcpConnection",
}
"""Clients are made there, which no signal handler interrupts, and who waits for one does so to his deadline."""


def test_a_signal_handler_may_take_each_lock_that_it_interrupts(everything):
    """It gets the lock again or is refused, but does not wait for the thread that waits for it."""
    hang = set()
    for where, lock in locks(*everything).items():
        owner = where.partition(" ")[0]
        if not lock.acquire(timeout=300):
            continue  # another thread is at work
        try:
            again = not isinstance(lock, threading.Semaphore) and lock.acquire(timeout=0)
        except BackendUnavailableError:
            again = None
        if again:
            lock.release()
        elif again is not None:
            hang.add(owner)
        lock.release()
    assert hang == ON_A_THREAD_OF_THEIR_OWN
