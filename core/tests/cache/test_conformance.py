"""The kit over memory behind the caching middleware."""

from __future__ import annotations

import pytest
from strongroom.cache import MemoryCacheStore
from strongroom.middleware import CachingMiddleware
from strongroom.testing import ProviderConformance, sampled
from strongroom_memory import MemorySecretProvider


@pytest.mark.torture
class TestCaching(ProviderConformance):
    """As memory behind caching, which `make test` runs a sample of."""

    provider_class = MemorySecretProvider

    @pytest.fixture
    def provider(self):
        return CachingMiddleware(MemorySecretProvider())


@sampled(pytest.mark.torture, one_in=2)
class TestCachingWithASecondLevel(ProviderConformance):
    provider_class = MemorySecretProvider

    @pytest.fixture
    def provider(self):
        return CachingMiddleware(MemorySecretProvider(), l2=MemoryCacheStore())


@sampled(pytest.mark.torture, one_in=4)
class TestCachingOfWhatIsAbsent(ProviderConformance):
    provider_class = MemorySecretProvider

    @pytest.fixture
    def provider(self):
        return CachingMiddleware(MemorySecretProvider(), negative_ttl_seconds=300, refresh_ahead=0.5)
