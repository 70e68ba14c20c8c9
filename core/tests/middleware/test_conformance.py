"""Behind each middleware a provider is still one: the whole kit, over memory."""

from __future__ import annotations

import pytest
from strongroom import PrefixMiddleware, RetryMiddleware, TenantMiddleware, ValidationMiddleware
from strongroom.backends import MemorySecretProvider
from strongroom.testing import ProviderConformance


class TestBehindPrefix(ProviderConformance):
    max_key_characters = 500

    @pytest.fixture
    def provider(self):
        return PrefixMiddleware(MemorySecretProvider(), "some/prefix/")


class TestBehindRetry(ProviderConformance):
    @pytest.fixture
    def provider(self):
        return RetryMiddleware(MemorySecretProvider())


class TestBehindValidation(ProviderConformance):
    @pytest.fixture
    def provider(self):
        return ValidationMiddleware(MemorySecretProvider(), max_length=1 << 24, forbid=["changeme"])


class OfOneTenant(TenantMiddleware):
    """As under a tenant in every thread, for the kit's threads begin without one."""

    def tenant(self):
        return "acme"


class TestBehindTenant(ProviderConformance):
    max_key_characters = 490

    @pytest.fixture
    def provider(self):
        return OfOneTenant(MemorySecretProvider())
