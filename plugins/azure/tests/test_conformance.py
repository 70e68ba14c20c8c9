"""The kit, over HTTPS with the official client."""

from __future__ import annotations

import pytest
from strongroom.testing import BehindMiddleware, ProviderConformance, sampled
from strongroom.testing.sampling import together
from strongroom_azure import AzureSecretProvider
from strongroom_azure.names import MARKER
from strongroom_azure.payload import EMPTY_MARK, MAX_BYTES

PATIENCE = 120.0
"""Seconds for one request, on a busy machine too."""


class TestAzure(ProviderConformance):
    title = "azure"
    provider_class = AzureSecretProvider
    max_value_bytes = MAX_BYTES
    similar_keys = 25
    listed_keys = 12
    hostile_keys = (
        f"a{MARKER}2f",
        f"A{MARKER}b",
        f"{MARKER}h{'0' * 64}",
        f"a-0{MARKER}x",
        "k" * 127,
        "k" * 128,
    )
    hostile_values = (EMPTY_MARK, EMPTY_MARK * 2, f"{EMPTY_MARK}x")
    sdk_modules = ("azure", "requests", "msal")
    construction = (
        "from strongroom_azure import AzureSecretProvider; AzureSecretProvider('https://127.0.0.1:1')"
    )

    @pytest.fixture
    def provider(self, bench):
        bench.store.page = 5  # the service's own has more secrets than a test likes to write
        return bench.provider(timeout=PATIENCE)

    @pytest.fixture
    def reopened(self, bench):
        return bench.provider(timeout=PATIENCE)

    @pytest.fixture
    def request_count(self, bench):
        return lambda: bench.server.requests


@sampled(pytest.mark.torture, one_in=4)
class TestAzureThatPurges(ProviderConformance):
    """With `purge` a deleted key is gone for good, and set again as if it had never been."""

    title = "azure, purging"
    provider_class = AzureSecretProvider
    max_value_bytes = MAX_BYTES
    listed_keys = 30  # a page has 25

    @pytest.fixture
    def provider(self, bench):
        return bench.provider(purge=True, timeout=PATIENCE)


class TestAzureBehindMiddleware(
    BehindMiddleware, kit=TestAzure, beyond_sample=[pytest.mark.torture], one_in=12
):
    """The kit behind each middleware."""


together(pytest.mark.torture)(TestAzure)
