"""The kit once more, with middleware in front of the provider."""

from __future__ import annotations

import pytest
from strongroom.testing import ProviderConformance, behind_each
from strongroom_vault import VaultSecretProvider


class Vault(ProviderConformance):
    @pytest.fixture
    def provider(self, server, mount):
        with VaultSecretProvider(server.url, server.token, mount) as made:
            yield made

    @pytest.fixture
    def reopened(self, provider, server, mount):
        with VaultSecretProvider(server.url, server.token, mount) as made:
            yield made


globals().update(
    {f"Test{name}": kit for name, kit in behind_each(Vault, alone=[pytest.mark.torture]).items()}
)
