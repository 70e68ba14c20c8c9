"""The provider passes the kit on a real server."""

from __future__ import annotations

import pytest
from strongroom.encryption.keys import generate_key
from strongroom.testing import BehindMiddleware, ProviderConformance
from strongroom.testing.sampling import together
from strongroom_etcd import EtcdSecretProvider, backend

KEY = generate_key()


class TestEtcd(ProviderConformance):
    title = "etcd"
    provider_class = EtcdSecretProvider
    sdk_modules = ("grpc", "requests", "pydantic", "pluggy")
    construction = (
        "from strongroom_etcd import EtcdSecretProvider; "
        "EtcdSecretProvider('http://etcd.example.com:2379', key_file='app.key')"
    )
    max_value_bytes = 1_572_864 - 65_536
    listed_keys = 12

    @pytest.fixture(autouse=True)
    def _short_pages(self, request, monkeypatch):
        # One after the other, deleted keys become many, and each list would read them all by fives.
        if not request.node.name.startswith("test_hostile_key_round_trips"):
            monkeypatch.setattr(backend, "_PAGE", 5)

    @pytest.fixture
    def provider(self, server, prefix):
        with EtcdSecretProvider(server.url, prefix=prefix, encryption_key=KEY, timeout=120) as provider:
            yield provider

    @pytest.fixture
    def reopened(self, server, prefix, provider):
        with EtcdSecretProvider(server.url, prefix=prefix, encryption_key=KEY, timeout=120) as other:
            yield other


class TestEtcdBehindMiddleware(
    BehindMiddleware, kit=TestEtcd, beyond_sample=[pytest.mark.torture], one_in=12
):
    """The kit behind each middleware."""


together(pytest.mark.torture)(TestEtcd)
