"""The env provider passes the conformance kit, on a mapping and on the real environment."""

from __future__ import annotations

import os

import pytest
from strongroom.testing import BehindMiddleware, ProviderConformance
from strongroom.testing.sampling import together
from strongroom_env import EnvSecretProvider


class TestEnv(ProviderConformance):
    title = "env"
    provider_class = EnvSecretProvider
    listed_keys = 30  # it knows no pages
    not_representable = ("\x00",)
    sdk_modules = ("sqlite3", "pydantic", "pluggy")
    construction = "from strongroom_env import EnvSecretProvider; EnvSecretProvider()"
    hostile_keys = ("a_0x2f_b", "_0x", "0x_0x_", "_0x5f_", "_0x110000_", "a/0x41_", "__0x", "_0X2F_")

    @pytest.fixture(autouse=True)
    def _clean(self):
        """Leave the environment as it was."""
        before = dict(os.environ)
        yield
        for name in set(os.environ) - set(before):
            del os.environ[name]

    @pytest.fixture
    def provider(self, _clean):
        with EnvSecretProvider("KIT_OF_ENV_") as provider:
            yield provider

    @pytest.fixture
    def reopened(self, provider):
        with EnvSecretProvider("KIT_OF_ENV_") as second:
            yield second


class TestEnvBehindMiddleware(BehindMiddleware, kit=TestEnv, beyond_sample=[pytest.mark.torture], one_in=12):
    """The kit behind each middleware."""


together(pytest.mark.torture)(TestEnv)
