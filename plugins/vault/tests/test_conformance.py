"""The kit, on both versions of the KV engine."""

from __future__ import annotations

import pytest
from strongroom.testing import BehindMiddleware, ProviderConformance
from strongroom.testing.sampling import together
from strongroom_vault import VaultSecretProvider


@pytest.fixture
def mount(empty_mount):
    return empty_mount()


class TestVault(ProviderConformance):
    title = "vault"
    provider_class = VaultSecretProvider
    listed_keys = 12  # the server knows no pages

    @pytest.fixture
    def provider(self, server, mount):
        with VaultSecretProvider(server.url, server.token, mount, timeout=120) as made:
            yield made

    @pytest.fixture
    def reopened(self, provider, server, mount):
        with VaultSecretProvider(server.url, server.token, mount, timeout=120) as made:
            yield made


class TestVaultBehindMiddleware(
    BehindMiddleware, kit=TestVault, beyond_sample=[pytest.mark.torture], one_in=12
):
    """The kit behind each middleware."""


# The server keeps the folders of what was deleted, and a list looks into each.
together(pytest.mark.torture, apart=["test_hostile_key_round_trips"])(TestVault)
