"""The kit for stores over the one in memory."""

from __future__ import annotations

import pytest
from strongroom.cache import MemoryCacheStore
from strongroom.testing import CacheStoreConformance


class TestMemoryCacheStore(CacheStoreConformance):
    @pytest.fixture
    def store(self, clock):
        return MemoryCacheStore(clock=clock)

    @pytest.fixture
    def later(self, clock):
        return clock.pass_by
