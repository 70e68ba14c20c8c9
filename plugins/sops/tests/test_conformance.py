"""The sops provider passes the conformance kit, on the real program. Each write is several runs of it."""

from __future__ import annotations

import pytest
from strongroom.testing import BehindMiddleware, ProviderConformance
from strongroom_sops import SopsSecretProvider

pytestmark = pytest.mark.torture


class TestSops(ProviderConformance):
    title = "sops, YAML"
    provider_class = SopsSecretProvider
    sdk_modules = ("sqlite3", "pydantic", "pluggy", "yaml")
    construction = "from strongroom_sops import SopsSecretProvider; SopsSecretProvider('/nowhere/x.yaml')"
    hostile_keys = (
        "sops",
        "sops/mac",
        "a_unencrypted",
        "a_unencrypted/b",
        "=_61",
        "a[0]",
        "0",
        "a/0",
        "]",
        "~",
    )
    listed_keys = 40
    thread_count = 4

    def put(self, provider, values):
        provider.set_secrets(values)

    @pytest.fixture
    def provider(self, make):
        with make() as provider:
            yield provider

    @pytest.fixture
    def reopened(self, provider, make):
        with make() as second:
            yield second


class TestSopsJson(TestSops):
    title = "sops, JSON"

    @pytest.fixture
    def provider(self, make):
        with make("secrets.json") as provider:
            yield provider

    @pytest.fixture
    def reopened(self, provider, make):
        with make("secrets.json") as second:
            yield second


class TestSopsDotenv(TestSops):
    title = "sops, .env"

    @pytest.fixture
    def provider(self, make):
        with make("secrets.env") as provider:
            yield provider

    @pytest.fixture
    def reopened(self, provider, make):
        with make("secrets.env") as second:
            yield second


class TestSopsBehindMiddleware(BehindMiddleware, kit=TestSops):
    """The kit behind each middleware."""
