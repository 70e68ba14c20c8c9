"""The pass provider passes the conformance kit, on the real program with a key of the test's own."""

from __future__ import annotations

import pytest
from strongroom.testing import BehindMiddleware, ProviderConformance
from strongroom_pass import PassSecretProvider

pytestmark = pytest.mark.torture


class TestPass(ProviderConformance):
    title = "pass"
    provider_class = PassSecretProvider
    sdk_modules = ("sqlite3", "pydantic", "pluggy")
    construction = "from strongroom_pass import PassSecretProvider; PassSecretProvider('/nowhere')"
    hostile_keys = (".git/config", ".gpg-id", "-e", "--help/x", "a.gpg", "a.gpg/b", "~", "a.git")
    listed_keys = 20
    thread_count = 4

    @pytest.fixture
    def provider(self, make):
        with make(whole=True) as provider:
            yield provider

    @pytest.fixture
    def reopened(self, provider, make):
        with make(whole=True) as second:
            yield second


class TestPassBehindMiddleware(BehindMiddleware, kit=TestPass):
    """The kit behind each middleware."""
