"""The kit, with a backend that cannot list and with a real Secret Service."""

from __future__ import annotations

import uuid

import pytest

pytest.importorskip("strongroom.testing", reason="core's conformance kit is not here")

from strongroom.testing import BehindMiddleware, ProviderConformance
from strongroom.testing.sampling import together
from strongroom_keyring import KeyringSecretProvider


class TestFileBackend(ProviderConformance):
    title = "keyring, a backend that cannot list"
    provider_class = KeyringSecretProvider
    listed_keys = 30  # it knows no pages

    @pytest.fixture
    def provider(self, file_backend):
        return KeyringSecretProvider(backend=file_backend)

    @pytest.fixture
    def reopened(self, provider, file_backend):
        return KeyringSecretProvider(backend=file_backend)


@pytest.mark.usefixtures("secret_service")
class TestSecretService(ProviderConformance):
    title = "keyring, GNOME's Secret Service"
    provider_class = KeyringSecretProvider
    listed_keys = 30  # it knows no pages

    @pytest.fixture
    def service(self):
        return f"strongroom-{uuid.uuid4()}"

    @pytest.fixture
    def provider(self, service):
        return KeyringSecretProvider(service, backend="keyring.backends.SecretService.Keyring")

    @pytest.fixture
    def reopened(self, provider, service):
        return KeyringSecretProvider(service, backend="keyring.backends.SecretService.Keyring")


class TestFileBackendBehindMiddleware(
    BehindMiddleware, kit=TestFileBackend, beyond_sample=[pytest.mark.torture], one_in=12
):
    """The kit behind each middleware."""


class TestSecretServiceBehindMiddleware(
    BehindMiddleware, kit=TestSecretService, beyond_sample=[pytest.mark.torture], one_in=12
):
    """The kit behind each middleware."""


together(pytest.mark.torture)(TestFileBackend)
together(pytest.mark.torture)(TestSecretService)
