from __future__ import annotations

import sys
from pathlib import Path

import pytest

# pytest's importlib mode keeps test folders off the path; this helper has a name of its own.
sys.path.insert(0, str(Path(__file__).parent))

from cache_support import KEY, Backend, Clock  # as above
from strongroom import HierarchicalSecretCache
from strongroom.cache import MemoryCacheStore
from strongroom.encryption import AESGCMEncryption


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def backend() -> Backend:
    return Backend(key="value", other="another")


@pytest.fixture
def store(clock):
    return MemoryCacheStore(clock=clock)


@pytest.fixture
def host(store, clock):
    def made(**options):
        # The store is memory, however late a thread begins.
        options = {"l2": store, "l2_timeout_seconds": 120, **options}
        return HierarchicalSecretCache(60, 300, encryption=AESGCMEncryption(KEY), clock=clock, **options)

    return made
